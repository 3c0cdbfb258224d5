"""The heads of an SSD-style detector: pointwise convolutions of every level, written straight into the outputs.

In ONNX they are a convolution, a transposition and a reshape for each level and output, then a concatenation over
levels and, for class scores, a softmax.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.direct import Source
from facedeploy.compiler.kernels.blocked.emit import (
    accumulators,
    add_products,
    argument,
    for_tiles,
    kernel,
    load,
    share,
    splat,
    store,
)
from facedeploy.compiler.kernels.blocked.layout import LANES
from facedeploy.compiler.kernels.blocked.tiling import Tile, choose_tile
from facedeploy.compiler.target import Target


@dataclass(frozen=True)
class Level:
    """The sources of one level's heads; all of one size, block and halo."""

    sources: tuple[Source, ...]

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width, px."""
        return self.sources[0].layout.height, self.sources[0].layout.width

    @property
    def blocks(self) -> int:
        """Input blocks of all sources."""
        return sum(source.blocks for source in self.sources)


@dataclass(frozen=True)
class Output:
    """(N, rows, width): `channels` of every pixel, in `channels / width` rows. `sigmoid` turns x into 1 / (1 + e^-x).

    A softmax over two classes is that, when the convolution yields the difference of each class to the other.
    """

    channels: int
    width: int
    sigmoid: bool = False


def heads_convolution(
    name: str, levels: Sequence[Level], outputs: Sequence[Output], target: Target
) -> tuple[Any, list[Tile]]:
    """`name(sources..., weights, bias for each level, then the outputs)`.

    The convolution's output channels are those of `outputs`, one after the other; weights as `pack_dense` makes them.
    """
    batch = levels[0].sources[0].layout.batch
    channels = sum(output.channels for output in outputs)
    blocks = -(-channels // LANES)
    tiles = [choose_tile(target, width=level.hw[1], blocks=blocks, lanes=LANES) for level in levels]
    pixels_in_all = sum(level.hw[0] * level.hw[1] for level in levels)
    with kernel(name) as builder:
        arguments = []
        for index, level in enumerate(levels):
            inner = level.sources[0].layout.block
            arguments.append(
                (
                    [
                        argument(f"source_{index}_{position}", source.layout.shape)
                        for position, source in enumerate(level.sources)
                    ],
                    argument(f"weights_{index}", (blocks, level.blocks, 1, 1, inner, LANES)),
                    argument(f"bias_{index}", (blocks, LANES)),
                )
            )
        # One output row holds all that a pixel has, so that its numbers are stored as one vector, or a few.
        outs = [
            argument(f"out_{index}", (batch, pixels_in_all * output.channels // output.width, output.width))
            for index, output in enumerate(outputs)
        ]
        flat = [
            T.decl_buffer((batch, pixels_in_all, output.channels), "float32", data=out.data)
            for output, out in zip(outputs, outs, strict=True)
        ]
        start = 0
        for level, tile, buffers in zip(levels, tiles, arguments, strict=True):
            _level(level, tile, buffers, blocks, outputs, flat, start)
            start += level.hw[0] * level.hw[1]
    return builder.get(), tiles


def _level(
    level: Level,
    tile: Tile,
    buffers: tuple[list[Any], Any, Any],
    blocks: int,
    outputs: Sequence[Output],
    outs: Sequence[Any],
    start: int,
) -> None:
    """One level's pixels, which are `start` and following of the outputs: a row into a scratch, from there outwards."""
    inputs, weights, bias = buffers
    height, width = level.hw
    inner = level.sources[0].layout.block
    with share(level.sources[0].layout.batch * height) as (start_row, rows), T.serial(0, rows) as step:
        n, y = (start_row + step) // height, (start_row + step) % height
        scratch = T.alloc_buffer((width, blocks * LANES), "float32", scope="global")

        def tile_of(block: Any, size: int, x: Any, count: int) -> None:
            sums = accumulators(size, count, LANES, lambda index: load(bias, [block + index, 0], LANES))
            before = 0
            for source, data in zip(level.sources, inputs, strict=True):
                _add_source(sums, count, source, data, weights, (n, y, x, block, before), inner)
                before += source.blocks
            for index, total in enumerate(sums):
                for pixel in range(count):
                    value = load(total, [pixel, 0], LANES)
                    store(scratch, value, [x + pixel, (block + index) * LANES], LANES)

        def blocks_of(block: Any, size: int) -> None:
            for_tiles(width, tile.pixels, lambda x, count: tile_of(block, size, x, count))

        for_tiles(blocks, tile.blocks, blocks_of)
        with T.serial(0, width) as x:
            first = 0
            for output, out in zip(outputs, outs, strict=True):
                for at, lanes in _vectors(output.channels):
                    value = load(scratch, [x, first + at], lanes)
                    if output.sigmoid:
                        value = sigmoid(value, lanes)
                    store(out, value, [n, start + y * width + x, at], lanes)
                first += output.channels


def _add_source(
    sums: Sequence[Any],
    count: int,
    source: Source,
    data: Any,
    weights: Any,
    place: tuple[Any, Any, Any, Any, int],
    inner: int,
) -> None:
    n, y, x, block, before = place
    halo = source.layout.halo
    add_products(
        sums,
        count,
        blocks_in=source.blocks,
        inner=inner,
        lanes=LANES,
        weight=lambda index, c, channel: load(weights, [block + index, c + before, 0, 0, channel, 0], LANES),
        value=lambda pixel, c, channel: data[n, c + source.first, y + halo, x + pixel + halo, channel],
    )


def sigmoid(value: Any, lanes: int) -> Any:
    """1 / (1 + e^-x) of a vector; e^x within 2 ulp, by the Cephes library's polynomial."""
    negative = T.Bind(splat(0.0, lanes) - value)
    return splat(1.0, lanes) / (splat(1.0, lanes) + _exponential(negative, lanes))


def _exponential(x: Any, lanes: int) -> Any:
    def constant(number: float) -> Any:
        return splat(number, lanes)

    clamped = T.Bind(tirx.Min(tirx.Max(x, constant(-87.0)), constant(88.0)))
    power = T.Bind(tirx.floor(clamped * constant(1.44269504088896341) + constant(0.5)))
    rest = T.Bind(clamped - power * constant(0.693359375) + power * constant(2.12194440e-4))
    series = constant(1.9875691500e-4)
    for factor in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        series = T.Bind(series * rest + constant(factor))
    mantissa = T.Bind(series * rest * rest + rest + constant(1.0))
    many = f"x{lanes}" if lanes > 1 else ""
    bias, shift = (
        tirx.const(number, "int32") if lanes == 1 else tirx.Broadcast(tirx.const(number, "int32"), lanes)
        for number in (127, 23)
    )
    bits = (tirx.Cast(f"int32{many}", power) + bias) << shift
    return mantissa * T.Bind(tirx.reinterpret(f"float32{many}", bits))


def _vectors(channels: int) -> list[tuple[int, int]]:
    """(start, lanes) of the vectors, powers of two, that cover so many numbers."""
    parts, start = [], 0
    while start < channels:
        lanes = next(lanes for lanes in (16, 8, 4, 2, 1) if lanes <= channels - start)
        parts.append((start, lanes))
        start += lanes
    return parts
