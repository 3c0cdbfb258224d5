"""A chain of layers in one kernel: a first layer and separable convolutions, each row passed on while in cache."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.depthwise import Pointwise, depthwise_pixels, depthwise_row
from facedeploy.compiler.kernels.blocked.direct import Window
from facedeploy.compiler.kernels.blocked.emit import (
    Epilogue,
    activate,
    argument,
    broadcast,
    for_tiles,
    kernel,
    load,
    splat,
    store,
    zero_halo,
)
from facedeploy.compiler.kernels.blocked.layout import Blocked
from facedeploy.compiler.kernels.blocked.links import Link, Reach, reach_of, run
from facedeploy.compiler.kernels.blocked.planar import NARROW, FirstLayer, SplitRows, first_layer_tile, image_argument
from facedeploy.compiler.kernels.blocked.rows import PlanarRows, Rows, blocked_ring, for_vectors
from facedeploy.compiler.kernels.blocked.tiling import Tile, differing_tiles
from facedeploy.compiler.target import Target


@dataclass(frozen=True)
class FirstLayerSpec:
    """A convolution of the planar image."""

    window: Window
    slope: float
    output: Blocked


@dataclass(frozen=True)
class SeparableSpec:
    """A depthwise convolution with its slope, and the pointwise one behind it with its own."""

    window: Window
    depthwise_slope: float
    slope: float | tuple[float, ...]
    output: Blocked


def cascade_tiles(layers: Sequence[FirstLayerSpec | SeparableSpec], target: Target) -> list[list[Tile]]:
    """Tiles of the layers of `cascade` that are worth a measurement, those that the model chooses first."""

    def of_layer(index: int, layer: FirstLayerSpec | SeparableSpec) -> list[Tile]:
        if isinstance(layer, FirstLayerSpec):
            return [first_layer_tile(layer.output, target, along_x=_planar_reader(layers, index) is not None)]
        output = layer.output
        return differing_tiles(target, width=output.width, blocks=output.blocks, lanes=output.block)

    tiles = [of_layer(index, layer) for index, layer in enumerate(layers)]
    return [
        [of_one[rank] if rank < len(of_one) else of_one[0] for of_one in tiles] for rank in range(max(map(len, tiles)))
    ]


def cascade(
    name: str,
    source: Blocked | tuple[int, int, int, int],
    layers: Sequence[FirstLayerSpec | SeparableSpec],
    target: Target,
    tiles: Sequence[Tile] | None = None,
) -> tuple[Any, Sequence[Tile]]:
    """`name(source, weights of each layer..., output)`: as `planar_convolution` and `separable_convolution` take them.

    `source` is the shape of a planar image when the first of `layers` is a FirstLayerSpec, else a layout. Every layer's
    `output` has the halo that the next one needs. `tiles` is one of `cascade_tiles`, the first if None. Returns the
    PrimFunc and each layer's tile.
    """
    output = layers[-1].output
    tiles = tiles or cascade_tiles(layers, target)[0]
    with kernel(name) as builder:
        links: list[Link] = []
        if isinstance(source, Blocked):
            rows = Rows(argument("source", source.shape), source)
        for index, layer in enumerate(layers):
            if isinstance(layer, FirstLayerSpec):
                assert not isinstance(source, Blocked)
                split = SplitRows(
                    image_argument(source), source, layer.window, layer.output.width, target.float32_lanes
                )
                reader = _planar_reader(layers, index)
                along_x = (reader.window, reader.output.width) if reader else None
                links += [split, FirstLayer(split, layer.output, layer.slope, target, along_x)]
            else:
                links.append(SeparableLink(links[-1] if links else rows, layer, index, target, tiles[index]))
        out = argument("out", output.shape)
        zero_halo(out, output)
        links[-1].out = out  # type: ignore[attr-defined]
        run(links, output.batch)
    return builder.get(), tiles


def _planar_reader(layers: Sequence[FirstLayerSpec | SeparableSpec], index: int) -> SeparableSpec | None:
    """The layer behind a first layer, if it reads planar rows.

    A blocked row of few channels fills vectors badly: along x they are full.
    """
    reader = layers[index + 1] if index + 1 < len(layers) else None
    narrow = layers[index].output.channels <= NARROW
    return reader if narrow and isinstance(reader, SeparableSpec) and reader.window.stride[1] == 1 else None


@dataclass
class SeparableLink:
    """Link: a separable convolution. `source`: the link before, or the rows of the whole input."""

    source: Any
    spec: SeparableSpec
    index: int
    target: Target
    tile: Tile
    out: Any = None
    rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        layout: Blocked = self.source.layout if isinstance(self.source, Rows) else self.source.output
        self.layout, self.output = layout, self.spec.output
        name = f"layer{self.index}"
        inner, lanes = layout.block, self.output.block
        self.depth_weights = argument(f"{name}_depth_weights", (layout.blocks, *self.spec.window.kernel, inner))
        self.depth_bias = argument(f"{name}_depth_bias", (layout.blocks, inner))
        self.weights = argument(f"{name}_weights", (self.output.blocks, layout.blocks, 1, 1, inner, lanes))
        self.bias = argument(f"{name}_bias", (self.output.blocks, lanes))

    @property
    def height(self) -> int:
        return self.output.height

    @property
    def reach(self) -> Reach:
        return reach_of(self.spec.window)

    def allocate(self, ring: int | None) -> None:
        self.rows = Rows(self.out, self.output) if ring is None else blocked_ring(self.output, ring)
        # One row of the depthwise result: numbers of a pixel side by side, or pixels of a channel.
        blocks, width, inner = self.layout.blocks, self.output.width, self.layout.block
        shape = (inner, width) if self._planar else (blocks, width, inner)
        self.scratch = T.alloc_buffer(shape, "float32", scope="global")
        if self._planar:
            # Channels that fill up the block are never computed, and zero weights times garbage could be NaN.
            with T.serial(self.layout.channels, inner) as channel, T.serial(0, width) as x:
                store(self.scratch, splat(0.0, 1), [channel, x], 1)

    def clear(self, y: Any) -> None:
        self.rows.clear(y)

    def row(self, n: Any, y: Any) -> None:
        if isinstance(self._source_rows, PlanarRows):
            self._depthwise_along_x(self._source_rows, y)
        else:
            self._depthwise_across(self._source_rows, n, y)

        def value(x: Any, c: Any, channel: Any) -> Any:
            return self.scratch[channel, x] if self._planar else self.scratch[c, x, channel]

        epilogue = Epilogue(self.spec.slope)
        blocks_in, inner = self.layout.blocks, self.layout.block
        pointwise = Pointwise(self.weights, self.bias, blocks_in, inner, self.rows, epilogue, None, self.tile)
        for_tiles(self.output.blocks, self.tile.blocks, lambda block, blocks: pointwise.row(n, y, block, blocks, value))

    @property
    def _source_rows(self) -> Rows | PlanarRows:
        rows: Rows | PlanarRows = self.source if isinstance(self.source, Rows) else self.source.rows
        return rows

    @property
    def _planar(self) -> bool:
        return isinstance(self._source_rows, PlanarRows)

    def _depthwise_across(self, source: Rows, n: Any, y: Any) -> None:
        inner, pixels = self.layout.block, depthwise_pixels(self.target, self.output.width)
        with T.serial(0, self.layout.blocks) as c:

            def put(x: Any, values: Iterable[Any]) -> None:
                for pixel, value in enumerate(values):
                    store(self.scratch, value, [c, x + pixel, 0], inner)

            place = (n, c, y)
            width, slope = self.output.width, self.spec.depthwise_slope
            depthwise_row(
                source, self.depth_weights, self.depth_bias, self.spec.window, place, width, pixels, slope, put
            )

    def _depthwise_along_x(self, source: PlanarRows, y: Any) -> None:
        window = self.spec.window
        with T.serial(0, self.layout.channels) as c:
            weights = [
                [T.Bind(self.depth_weights[0, i, j, c]) for j in range(window.kernel[1])]
                for i in range(window.kernel[0])
            ]

            def part(x: Any, lanes: int) -> None:
                total = broadcast(self.depth_bias[0, c], lanes)
                for i, row_weights in enumerate(weights):
                    row = y * window.stride[0] + i * window.dilation[0] - window.padding[0]
                    for j, weight in enumerate(row_weights):
                        column = j * window.dilation[1] - window.padding[1]
                        vector = load(source.buffer, source.tap(c, row, x, column), lanes)
                        total = T.Bind(total + vector * broadcast(weight, lanes))
                store(self.scratch, activate(total, self.spec.depthwise_slope, lanes), [c, x], lanes)

            for_vectors(self.output.width, self.target.float32_lanes, part)
