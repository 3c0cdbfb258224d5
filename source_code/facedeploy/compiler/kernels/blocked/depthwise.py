"""Depthwise convolution, alone and with the pointwise one that follows it (a separable convolution)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
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
    for_tiles,
    kernel,
    load,
    repeat,
    share,
    store,
    zero_halo,
)
from facedeploy.compiler.kernels.blocked.layout import Blocked
from facedeploy.compiler.kernels.blocked.rows import Rows
from facedeploy.compiler.kernels.blocked.tiling import Tile, differing_tiles
from facedeploy.compiler.target import Target

PIXELS = 8  # Of a row at a time: with a 3x3 kernel's nine weights they fit 32 registers.
PIXELS_FEW_REGISTERS = 2

# Takes the place of a pixel in its row, and vectors for it and its neighbors, each made when it is taken.
Store = Callable[[Any, Iterable[Any]], None]


def depthwise_convolution(
    name: str, source: Blocked, output: Blocked, window: Window, slope: float, target: Target
) -> tuple[Any, Tile]:
    """`name(source, weights, bias, output)`; weights as `pack_depthwise` makes them, bias (blocks, block).

    One filter a channel; source and output have the same channels and block. Returns the PrimFunc and its tile.
    """
    lanes = source.block
    pixels = depthwise_pixels(target, output.width)
    with kernel(name) as builder:
        data = Rows(argument("source", source.shape), source)
        weights = argument("weights", (source.blocks, *window.kernel, lanes))
        bias = argument("bias", (source.blocks, lanes))
        out = Rows(argument("out", output.shape), output)
        zero_halo(out.buffer, output)
        with T.parallel(0, output.batch * source.blocks) as part:
            n, c = part // source.blocks, part % source.blocks
            with T.serial(0, output.height) as y:

                def put(x: Any, values: Iterable[Any]) -> None:
                    for pixel, value in enumerate(values):
                        store(out.buffer, value, [*out.at(n, c, y, x + pixel), 0], lanes)

                depthwise_row(data, weights, bias, window, (n, c, y), output.width, pixels, slope, put)
    return builder.get(), Tile(pixels, 1, 1, f"{pixels} pixels: each input vector is loaded once for them")


def separable_tiles(source: Blocked, output: Blocked, target: Target) -> list[Tile]:
    """Tiles of `separable_convolution` that are worth a measurement, the one that the model chooses first."""
    row_bytes = output.width * source.blocks * source.block * 4
    # Two rows share the weights of the pointwise part where those are many and the scratch stays small.
    rows = 2 if output.height % 2 == 0 and output.blocks >= 4 and row_bytes <= 64 * 1024 else 1
    depthwise = f"depthwise {depthwise_pixels(target, output.width)} pixels"

    def of_rows(tile: Tile, rows: int) -> Tile:
        reason = f"{depthwise}, pointwise {tile.reason}; {rows} rows of {row_bytes} B between the two"
        return replace(tile, rows=rows, reason=reason)

    tiles = differing_tiles(target, width=output.width, blocks=output.blocks, lanes=output.block)
    others = [count for count in (1, 2, 4) if count != rows and output.height % count == 0]
    return [*(of_rows(tile, rows) for tile in tiles), *(of_rows(tiles[0], count) for count in others)]


def separable_convolution(
    name: str,
    source: Blocked,
    output: Blocked,
    window: Window,
    slope: float,
    epilogue: Epilogue,
    target: Target,
    tile: Tile | None = None,
) -> tuple[Any, Tile]:
    """`name(source, depthwise weights, depthwise bias, weights, bias, [residual], output)`: both without a round trip.

    A few rows of the depthwise result (activated by `slope`) stay in a scratch that fits L1 or L2, from which the
    pointwise convolution reads. `tile`, of the pointwise part, is one of `separable_tiles`, the first if None. Returns
    the PrimFunc and its tile.
    """
    inner, lanes = source.block, output.block
    tile = tile or separable_tiles(source, output, target)[0]
    pixels, rows = depthwise_pixels(target, output.width), tile.rows
    with kernel(name) as builder:
        data = Rows(argument("source", source.shape), source)
        depth_weights = argument("depth_weights", (source.blocks, *window.kernel, inner))
        depth_bias = argument("depth_bias", (source.blocks, inner))
        weights = argument("weights", (output.blocks, source.blocks, 1, 1, inner, lanes))
        bias = argument("bias", (output.blocks, lanes))
        residual = argument("residual", epilogue.residual.shape) if epilogue.residual else None
        out = Rows(argument("out", output.shape), output)
        zero_halo(out.buffer, output)
        pointwise = Pointwise(weights, bias, source.blocks, inner, out, epilogue, residual, tile)
        parts = output.height // rows
        with share(output.batch * parts) as (start, count), T.serial(0, count) as step:
            n, first = (start + step) // parts, (start + step) % parts * rows
            scratch = T.alloc_buffer((source.blocks, rows, output.width, inner), "float32", scope="global")
            with T.serial(0, source.blocks) as c, T.serial(0, rows) as row:

                def put(x: Any, values: Iterable[Any]) -> None:
                    for pixel, value in enumerate(values):
                        store(scratch, value, [c, row, x + pixel, 0], inner)

                place = (n, c, first + row)
                depthwise_row(data, depth_weights, depth_bias, window, place, output.width, pixels, slope, put)

            def blocks_of_rows(block: Any, blocks: int) -> None:
                with T.serial(0, rows) as row:
                    pointwise.row(n, first + row, block, blocks, lambda x, c, channel: scratch[c, row, x, channel])

            for_tiles(output.blocks, tile.blocks, blocks_of_rows)
    return builder.get(), tile


def depthwise_pixels(target: Target, width: int) -> int:
    """How many neighboring pixels are summed at once."""
    return min(width, PIXELS if target.vector_bits == 512 else PIXELS_FEW_REGISTERS)


def depthwise_row(
    data: Rows,
    weights: Any,
    bias: Any,
    window: Window,
    place: tuple[Any, Any, Any],
    width: int,
    pixels: int,
    slope: float,
    put: Store,
    joined: int = 1,
) -> None:
    """One row of one block: at `place` (n, block, y), `put(x, vectors)` for a few of `width` outputs at a time.

    With `joined` > 1 a vector holds so many neighbors, of a block that is narrower, at a stride of 1; they divide
    `width`.
    """
    lanes = joined * data.layout.block

    def tile(x: Any, count: int) -> None:
        totals = _sums(data, weights, bias, window, (*place, x), count // joined, joined)
        put(x, (activate(total, slope, lanes) for total in totals))

    for_tiles(width, pixels, tile)


@dataclass(frozen=True)
class Pointwise:
    """The pointwise convolution behind a depthwise one: weights (out blocks, in blocks, 1, 1, inner, lanes)."""

    weights: Any
    bias: Any
    blocks_in: int
    inner: int
    out: Rows
    epilogue: Epilogue
    residual: Any
    tile: Tile

    def row(self, n: Any, y: Any, block: Any, blocks: int, value: Callable[[Any, Any, Any], Any]) -> None:
        """One row of `blocks` output blocks from `block` on; `value(x, c, channel)` is a number of the source's row."""
        layout, epilogue = self.out.layout, self.epilogue
        lanes = layout.block

        def tile_of(x: Any, count: int) -> None:
            sums = accumulators(blocks, count, lanes, lambda index, _: load(self.bias, [block + index, 0], lanes))
            add_products(
                sums,
                count,
                blocks_in=self.blocks_in,
                inner=self.inner,
                lanes=lanes,
                weight=lambda index, c, channel: load(self.weights, [block + index, c, 0, 0, channel, 0], lanes),
                value=lambda pixel, c, channel: value(x + pixel, c, channel),
            )
            for index, total in enumerate(sums):
                slope = epilogue.slope_of(block + index)
                for pixel in range(count):
                    place = (n, block + index, y, x + pixel)
                    result = complete(load(total, [pixel, 0], lanes), epilogue, slope, self.residual, place, lanes)
                    store(self.out.buffer, result, [*self.out.at(*place), 0], lanes)

        for_tiles(layout.width, self.tile.pixels, tile_of)


def _sums(
    data: Rows, weights: Any, bias: Any, window: Window, place: tuple[Any, Any, Any, Any], count: int, joined: int
) -> list[Any]:
    """`count` vectors of `joined` neighbors of one block at `place` (n, block, y, x); each input is loaded once."""
    n, c, y, x = place
    block = data.layout.block
    (kernel_h, kernel_w), (stride_h, stride_w), (dilation_h, dilation_w) = window.kernel, window.stride, window.dilation
    top, left = window.padding
    step = stride_w * joined
    start = T.Bind(repeat(load(bias, [c, 0], block), block, joined))
    sums = [start] * count
    for i in range(kernel_h):
        row_weights = [T.Bind(repeat(load(weights, [c, i, j, 0], block), block, joined)) for j in range(kernel_w)]
        for column in range((count - 1) * step + (kernel_w - 1) * dilation_w + 1):
            taps = [
                (vector, j)
                for vector in range(count)
                for j in range(kernel_w)
                if vector * step + j * dilation_w == column
            ]
            if not taps:
                continue
            row = y * stride_h + i * dilation_h - top
            at = [*data.at(n, c, row, x * stride_w + column - left), 0]
            value = T.Bind(load(data.buffer, at, joined * block))
            for vector, j in taps:
                sums[vector] = T.Bind(sums[vector] + value * row_weights[j])
    return sums
