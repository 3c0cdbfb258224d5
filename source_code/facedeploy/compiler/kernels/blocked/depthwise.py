"""Depthwise convolution, alone and with the pointwise one that follows it (a separable convolution)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.direct import Window
from facedeploy.compiler.kernels.blocked.emit import (
    Epilogue,
    accumulators,
    activate,
    add_products,
    argument,
    complete,
    for_blocks,
    for_tiles,
    kernel,
    load,
    store,
    zero_halo,
)
from facedeploy.compiler.kernels.blocked.layout import Blocked
from facedeploy.compiler.kernels.blocked.tiling import Tile, choose_tile
from facedeploy.compiler.target import Target

PIXELS = 8  # Of a row at a time: with a 3x3 kernel's nine weights they fit 32 registers.
PIXELS_FEW_REGISTERS = 2

Store = Callable[[Any, Any], None]


def depthwise_convolution(
    name: str, source: Blocked, output: Blocked, window: Window, slope: float, target: Target
) -> tuple[Any, Tile]:
    """`name(source, weights, bias, output)`; weights as `pack_depthwise` makes them, bias (blocks, block).

    One filter a channel; source and output have the same channels and block. Returns the PrimFunc and its tile.
    """
    lanes = source.block
    pixels = _pixels(target, output.width)
    with kernel(name) as builder:
        data = argument("source", source.shape)
        weights = argument("weights", (source.blocks, *window.kernel, lanes))
        bias = argument("bias", (source.blocks, lanes))
        out = argument("out", output.shape)
        zero_halo(out, output)
        with T.parallel(0, output.batch * source.blocks) as part:
            n, c = part // source.blocks, part % source.blocks
            with T.serial(0, output.height) as y:

                def tile(x: Any, count: int) -> None:
                    def put(pixel: Any, value: Any) -> None:
                        store(out, value, [n, c, y + output.halo, x + pixel + output.halo, 0], lanes)

                    _sum_pixels(data, weights, bias, source, window, (n, c, y, x), count, slope, put)

                for_tiles(output.width, pixels, tile)
    return builder.get(), Tile(pixels, 1, 1, f"{pixels} pixels: each input vector is loaded once for them")


def separable_convolution(
    name: str, source: Blocked, output: Blocked, window: Window, slope: float, epilogue: Epilogue, target: Target
) -> tuple[Any, Tile]:
    """`name(source, depthwise weights, depthwise bias, weights, bias, [residual], output)`: both without a round trip.

    A few rows of the depthwise result (activated by `slope`) stay in a scratch that fits L1 or L2, from which the
    pointwise convolution reads. Returns the PrimFunc and the tile of the pointwise part.
    """
    inner, lanes = source.block, output.block
    pixels = _pixels(target, output.width)
    row_bytes = output.width * source.blocks * inner * 4
    tile = choose_tile(target, width=output.width, blocks=output.blocks, lanes=lanes)
    # Two rows share the weights of the pointwise part where those are many and the scratch stays small.
    rows = 2 if output.height % 2 == 0 and output.blocks >= 4 and row_bytes <= 64 * 1024 else 1
    reason = f"depthwise {pixels} pixels, pointwise {tile.reason}; {rows} rows of {row_bytes} B between the two"
    tile = replace(tile, rows=rows, reason=reason)
    with kernel(name) as builder:
        data = argument("source", source.shape)
        depth_weights = argument("depth_weights", (source.blocks, *window.kernel, inner))
        depth_bias = argument("depth_bias", (source.blocks, inner))
        weights = argument("weights", (output.blocks, source.blocks, 1, 1, inner, lanes))
        bias = argument("bias", (output.blocks, lanes))
        residual = argument("residual", epilogue.residual.shape) if epilogue.residual else None
        out = argument("out", output.shape)
        zero_halo(out, output)
        parts = output.height // rows
        with T.parallel(0, output.batch * parts) as part:
            n, first = part // parts, (part % parts) * rows
            scratch = T.alloc_buffer((source.blocks, rows, output.width, inner), "float32", scope="global")
            with T.serial(0, source.blocks) as c, T.serial(0, rows) as row:

                def depth_tile(x: Any, count: int, c: Any = c, row: Any = row) -> None:
                    def put(pixel: Any, value: Any) -> None:
                        store(scratch, value, [c, row, x + pixel, 0], inner)

                    place = (n, c, first + row, x)
                    _sum_pixels(data, depth_weights, depth_bias, source, window, place, count, slope, put)

                for_tiles(output.width, pixels, depth_tile)

            def point_blocks(block: Any, blocks: int) -> None:
                with T.serial(0, rows) as row:

                    def point_tile(x: Any, count: int) -> None:
                        sums = accumulators(blocks, count, lanes, lambda index: load(bias, [block + index, 0], lanes))
                        add_products(
                            sums,
                            count,
                            blocks_in=source.blocks,
                            inner=inner,
                            lanes=lanes,
                            weight=lambda index, c, channel: load(weights, [block + index, c, 0, 0, channel, 0], lanes),
                            value=lambda pixel, c, channel: scratch[c, row, x + pixel, channel],
                        )
                        y = first + row
                        for index, total in enumerate(sums):
                            slope = epilogue.slope_of(block + index if isinstance(block, int) else 0)
                            for pixel in range(count):
                                place = (n, block + index, y, x + pixel)
                                value = complete(
                                    load(total, [pixel, 0], lanes), epilogue, slope, residual, place, lanes
                                )
                                store(
                                    out, value, [n, block + index, y + output.halo, x + pixel + output.halo, 0], lanes
                                )

                    for_tiles(output.width, tile.pixels, point_tile)

            for_blocks(output.blocks, tile.blocks, epilogue, point_blocks)
    return builder.get(), tile


def _pixels(target: Target, width: int) -> int:
    return min(width, PIXELS if target.vector_bits == 512 else PIXELS_FEW_REGISTERS)


def _sum_pixels(
    data: Any,
    weights: Any,
    bias: Any,
    source: Blocked,
    window: Window,
    place: tuple[Any, Any, Any, Any],
    count: int,
    slope: float,
    put: Store,
) -> None:
    """`count` neighboring outputs of one block at `place` (n, block, y, x); each input vector is loaded once."""
    n, c, y, x = place
    lanes = source.block
    top, left = source.halo - window.padding[0], source.halo - window.padding[1]
    (kernel_h, kernel_w), (stride_h, stride_w), (dilation_h, dilation_w) = window.kernel, window.stride, window.dilation
    start = T.Bind(load(bias, [c, 0], lanes))
    sums = [start] * count
    for i in range(kernel_h):
        row_weights = [T.Bind(load(weights, [c, i, j, 0], lanes)) for j in range(kernel_w)]
        for column in range((count - 1) * stride_w + (kernel_w - 1) * dilation_w + 1):
            taps = [
                (pixel, j)
                for pixel in range(count)
                for j in range(kernel_w)
                if pixel * stride_w + j * dilation_w == column
            ]
            if not taps:
                continue
            value = T.Bind(
                load(data, [n, c, y * stride_h + i * dilation_h + top, x * stride_w + column + left, 0], lanes)
            )
            for pixel, j in taps:
                sums[pixel] = T.Bind(sums[pixel] + value * row_weights[j])
    for pixel, total in enumerate(sums):
        put(pixel, activate(total, slope, lanes))
