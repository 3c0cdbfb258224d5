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
    argument,
    for_tiles,
    kernel,
    load,
    share,
    splat,
    store,
)
from facedeploy.compiler.kernels.blocked.layout import LANES
from facedeploy.compiler.kernels.blocked.products import FLOAT, Arithmetic, Products
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
    """(N, rows, width): `channels` of every pixel, in `channels / width` rows.

    With `softmax`, rows of two numbers become probabilities: the sigmoid of each number's difference to the other.
    """

    channels: int
    width: int
    softmax: bool = False


def heads_convolution(
    name: str,
    levels: Sequence[Level],
    outputs: Sequence[Output],
    target: Target,
    arithmetic: Arithmetic = FLOAT,
) -> tuple[Any, list[Tile]]:
    """`name(sources..., and what `arithmetic` declares, for each level, then the outputs)`.

    The convolution's output channels are those of `outputs`, one after the other.
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
                        argument(f"source_{index}_{position}", source.layout.shape, arithmetic.dtype)
                        for position, source in enumerate(level.sources)
                    ],
                    arithmetic.declare(f"_{index}", (blocks, level.blocks, 1, 1), inner, LANES),
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
            _level(level, tile, *buffers, blocks, outputs, flat, start)
            start += level.hw[0] * level.hw[1]
    return builder.get(), tiles


def _level(
    level: Level,
    tile: Tile,
    inputs: Sequence[Any],
    products: Products,
    blocks: int,
    outputs: Sequence[Output],
    outs: Sequence[Any],
    start: int,
) -> None:
    """One level's pixels, which are `start` and following of the outputs: a row into a scratch, from there outwards."""
    height, width = level.hw
    with share(level.sources[0].layout.batch * height) as (start_row, rows), T.serial(0, rows) as step:
        n, y = (start_row + step) // height, (start_row + step) % height
        scratch = T.alloc_buffer((width, blocks * LANES), "float32", scope="global")

        def tile_of(block: Any, size: int, x: Any, count: int) -> None:
            sums = products.sums(block, size, count)
            before = 0
            for source, data in zip(level.sources, inputs, strict=True):
                _add_source(products, sums, count, source, data, (n, y, x, block, before))
                before += source.blocks
            for index in range(size):
                for pixel in range(count):
                    value = products.total(sums, index, pixel, block + index)
                    store(scratch, value, [x + pixel, (block + index) * LANES], LANES)

        def blocks_of(block: Any, size: int) -> None:
            for_tiles(width, tile.pixels, lambda x, count: tile_of(block, size, x, count))

        for_tiles(blocks, tile.blocks, blocks_of)
        with T.serial(0, width) as x:
            first = 0
            for output, out in zip(outputs, outs, strict=True):
                for at, lanes in _vectors(output.channels):
                    value = T.Bind(load(scratch, [x, first + at], lanes))
                    if output.softmax:
                        value = sigmoid(T.Bind(value - _other_class(value, lanes)), lanes)
                    store(out, value, [n, start + y * width + x, at], lanes)
                first += output.channels


def _add_source(
    products: Products,
    sums: Sequence[Any],
    count: int,
    source: Source,
    data: Any,
    place: tuple[Any, Any, Any, Any, int],
) -> None:
    n, y, x, block, before = place
    halo = source.layout.halo
    products.add(
        sums,
        count,
        source.blocks,
        lambda index, c: [block + index, c + before, 0, 0],
        data,
        lambda pixel, c: [n, c + source.first, y + halo, x + pixel + halo],
    )


def _other_class(value: Any, lanes: int) -> Any:
    """Each number's neighbor in its pair."""
    return tirx.Shuffle([value], [tirx.const(lane ^ 1, "int32") for lane in range(lanes)])


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
