"""Convolution of a planar (NCHW) tensor with few channels: a net's first layer, which reads the image as it comes."""

from dataclasses import replace
from typing import Any

import numpy as np
from tvm import tirx
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.direct import Window
from facedeploy.compiler.kernels.blocked.emit import (
    accumulators,
    activate,
    argument,
    broadcast,
    for_tiles,
    kernel,
    load,
    store,
    zero_halo,
)
from facedeploy.compiler.kernels.blocked.layout import Blocked, FloatArray
from facedeploy.compiler.kernels.blocked.tiling import Tile, choose_tile
from facedeploy.compiler.target import Target

MAX_CHANNELS = 4  # Beyond, the image is better converted to blocks.
MAX_PIXELS = 6  # A tap's weights are read once for them; the sums of more compete for registers with 27 of those.


def pack_planar(weights: FloatArray, block_out: int) -> FloatArray:
    """OIHW -> (out blocks, KH, KW, I, block_out)."""
    outputs = weights.shape[0]
    blocks = -(-outputs // block_out)
    padded = np.pad(weights, ((0, blocks * block_out - outputs), (0, 0), (0, 0), (0, 0)))
    shaped = padded.reshape(blocks, block_out, *weights.shape[1:])
    return np.ascontiguousarray(shaped.transpose(0, 3, 4, 2, 1).astype(np.float32))


def planar_convolution(
    name: str,
    source_shape: tuple[int, int, int, int],
    output: Blocked,
    window: Window,
    slope: float,
    target: Target,
) -> tuple[Any, Tile]:
    """`name(source, weights, bias, output)`; source (N, C, H, W) without a halo, weights as `pack_planar` makes them.

    Inner rows and columns read without a check; on the border, what lies outside counts as zero.
    """
    _, channels, height, width = source_shape
    lanes = output.block
    (kernel_h, kernel_w), (stride_h, stride_w) = window.kernel, window.stride
    (dilation_h, dilation_w), (top, left) = window.dilation, window.padding
    # The outputs whose window lies inside of the image: [start, end) along each axis.
    rows = _inside(output.height, height, kernel_h, stride_h, dilation_h, top)
    columns = _inside(output.width, width, kernel_w, stride_w, dilation_w, left)
    tile = choose_tile(target, width=max(1, columns[1] - columns[0]), blocks=output.blocks, lanes=lanes, max_blocks=2)
    if tile.pixels > MAX_PIXELS:
        capped = f"{tile.reason}; but {MAX_PIXELS} pixels, to leave registers to the taps' weights"
        tile = replace(tile, pixels=MAX_PIXELS, reason=capped)
    with kernel(name) as builder:
        data = argument("source", source_shape)
        weights = argument("weights", (output.blocks, kernel_h, kernel_w, channels, lanes))
        bias = argument("bias", (output.blocks, lanes))
        out = argument("out", output.shape)
        zero_halo(out, output)

        def pixels(n: Any, y: Any, x: Any, count: int, block: Any, blocks: int, checked: bool) -> None:
            sums = accumulators(blocks, count, lanes, lambda index: load(bias, [block + index, 0], lanes))
            # Kernel rows are a loop, since a large kernel in full would take LLVM minutes.
            with T.serial(0, kernel_h) as i:
                row = y * stride_h + i * dilation_h - top
                for j in range(kernel_w):
                    for channel in range(channels):
                        vectors = [
                            T.Bind(load(weights, [block + index, i, j, channel, 0], lanes)) for index in range(blocks)
                        ]
                        for pixel in range(count):
                            column = (x + pixel) * stride_w + j * dilation_w - left
                            scalar = data[n, channel, row, column]
                            if checked:
                                inside = tirx.all(row >= 0, row < height, column >= 0, column < width)
                                scalar = tirx.if_then_else(inside, scalar, tirx.const(0.0, "float32"))
                            value = broadcast(scalar, lanes)
                            for total, vector_of in zip(sums, vectors, strict=True):
                                product = load(total, [pixel, 0], lanes) + value * vector_of
                                store(total, product, [pixel, 0], lanes)
            for index, total in enumerate(sums):
                for pixel in range(count):
                    place = [n, block + index, y + output.halo, x + pixel + output.halo, 0]
                    store(out, activate(load(total, [pixel, 0], lanes), slope, lanes), place, lanes)

        def border(n: Any, y: Any, start: int, end: int, block: Any, blocks: int) -> None:
            if end > start:
                with T.serial(start, end) as x:
                    pixels(n, y, x, 1, block, blocks, checked=True)

        def row_blocks(n: Any, y: Any, inner: bool) -> None:
            def body(block: Any, blocks: int) -> None:
                start, end = columns if inner else (output.width, output.width)
                border(n, y, 0, start, block, blocks)
                for_tiles(
                    end - start,
                    tile.pixels,
                    lambda x, count: pixels(n, y, start + x, count, block, blocks, checked=False),
                )
                border(n, y, end, output.width, block, blocks)

            for_tiles(output.blocks, tile.blocks, body)

        for n in range(output.batch):
            for start, end in ((0, rows[0]), (rows[1], output.height)):
                if end > start:
                    with T.serial(start, end) as y:
                        row_blocks(n, y, inner=False)
            if rows[1] > rows[0]:
                with T.parallel(rows[0], rows[1]) as y:
                    row_blocks(n, y, inner=True)
    return builder.get(), tile


def _inside(outputs: int, inputs: int, kernel: int, stride: int, dilation: int, padding: int) -> tuple[int, int]:
    """The outputs [start, end) of an axis that read no padding."""
    start = -(-padding // stride)
    end = (inputs - 1 - (kernel - 1) * dilation + padding) // stride + 1
    start, end = min(start, outputs), min(max(end, 0), outputs)
    return (start, end) if end > start else (outputs, outputs)
