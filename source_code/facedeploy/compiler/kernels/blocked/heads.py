"""The heads of an SSD-style detector: pointwise convolutions of every level, written straight into the outputs.

In ONNX they are a convolution, a transposition and a reshape for each level and output, then a concatenation over
levels and, for class scores, a softmax.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.amx import declare_tiles, for_spans, pixels_of, tile_sources
from facedeploy.compiler.kernels.blocked.direct import Source, Window
from facedeploy.compiler.kernels.blocked.emit import (
    argument,
    for_tiles,
    kernel,
    load,
    share,
    splat,
    store,
)
from facedeploy.compiler.kernels.blocked.integers import S32, has_amx
from facedeploy.compiler.kernels.blocked.layout import LANES, Blocked
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
    pixels_in_all = sum(level.hw[0] * level.hw[1] for level in levels)
    rows: list[LevelRows | TileRows] = []
    with kernel(name) as builder:
        for index, level in enumerate(levels):
            inputs = [
                argument(f"source_{index}_{position}", source.layout.shape, arithmetic.dtype)
                for position, source in enumerate(level.sources)
            ]
            if arithmetic != FLOAT and has_amx(target):
                rows.append(TileRows(level, inputs, f"_{index}", blocks, target))
                continue
            products = arithmetic.declare(
                f"_{index}", (blocks, level.blocks, 1, 1), level.sources[0].layout.block, LANES
            )
            tile = choose_tile(target, width=level.hw[1], blocks=blocks, lanes=LANES)
            rows.append(LevelRows(level, inputs, blocks, products, tile))
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
        for level, maker in zip(levels, rows, strict=True):
            _level(level, maker, blocks, outputs, flat, start)
            start += level.hw[0] * level.hw[1]
    return builder.get(), [maker.tile for maker in rows]


def _level(
    level: Level,
    maker: "LevelRows | TileRows",
    blocks: int,
    outputs: Sequence[Output],
    outs: Sequence[Any],
    start: int,
) -> None:
    """One level's pixels, which are `start` and following of the outputs: a row into a scratch, from there outwards."""
    height, width = level.hw
    with share(level.sources[0].layout.batch * height) as (start_row, rows):
        maker.begin()
        with T.serial(0, rows) as step:
            n, y = (start_row + step) // height, (start_row + step) % height
            scratch = T.alloc_buffer((width, blocks * LANES), "float32", scope="global")
            maker.row(n, y, scratch)
            with T.serial(0, width) as x:
                first = 0
                for output, out in zip(outputs, outs, strict=True):
                    for at, lanes in _vectors(output.channels):
                        value = T.Bind(load(scratch, [x, first + at], lanes))
                        if output.softmax:
                            value = sigmoid(T.Bind(value - _other_class(value, lanes)), lanes)
                        store(out, value, [n, start + y * width + x, at], lanes)
                    first += output.channels
        maker.end()


@dataclass
class LevelRows:
    """Makes rows of a level by `products` of vectors."""

    level: Level
    inputs: Sequence[Any]
    blocks: int
    products: Products
    tile: Tile

    def begin(self) -> None:
        """What each thread does first."""

    def end(self) -> None:
        """What each thread does last."""

    def row(self, n: Any, y: Any, scratch: Any) -> None:
        """All channels of a row of pixels -> scratch (width, channels)."""

        def tile_of(block: Any, size: int, x: Any, count: int) -> None:
            sums = self.products.sums(block, size, count)
            before = 0
            for source, data in zip(self.level.sources, self.inputs, strict=True):
                _add_source(self.products, sums, count, source, data, (n, y, x, block, before))
                before += source.blocks
            for index in range(size):
                for pixel in range(count):
                    value = self.products.total(sums, index, pixel, block + index)
                    store(scratch, value, [x + pixel, (block + index) * LANES], LANES)

        def blocks_of(block: Any, size: int) -> None:
            for_tiles(self.level.hw[1], self.tile.pixels, lambda x, count: tile_of(block, size, x, count))

        for_tiles(self.blocks, self.tile.blocks, blocks_of)


class TileRows:
    """Makes rows of a level in AMX's tiles."""

    def __init__(self, level: Level, inputs: Sequence[Any], suffix: str, blocks: int, target: Target) -> None:
        batch, (height, width) = level.sources[0].layout.batch, level.hw
        pixels = pixels_of(width)
        output = Blocked(batch, blocks * LANES, height, width, LANES)
        self.width = width
        self.products = declare_tiles(suffix, level.sources, Window((1, 1)), output, pixels, 1, target)
        self.sources = tile_sources(level.sources, inputs)
        across = self.products.across
        self.tile = Tile(pixels, across, 1, f"{pixels} pixels x {across} tiles of {LANES} channels")

    def begin(self) -> None:
        """What each thread does first."""
        self.products.configure(self.products.configuration())
        self.sums = self.products.scratch()

    def end(self) -> None:
        """What each thread does last."""
        self.products.release()

    def row(self, n: Any, y: Any, scratch: Any) -> None:
        """All channels of a row of pixels -> scratch (width, channels)."""

        def channels_of(tile: Any, across: int) -> None:
            def span(x: Any) -> None:
                self.products.sum(self.sources, [(n, y, x)], tile, across, self.sums)
                for index in range(across):
                    for pixel in range(self.products.pixels):
                        total = load(self.sums, [index, pixel, 0], LANES, S32)
                        value = T.Bind(self.products.requantization.real(total, tile + index))
                        store(scratch, value, [x + pixel, (tile + index) * LANES], LANES)

            for_spans(self.width, self.products.pixels, span)

        for_tiles(self.products.tiles, self.products.across, channels_of)


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
