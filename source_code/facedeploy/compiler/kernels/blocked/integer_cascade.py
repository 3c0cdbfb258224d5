"""Dense convolutions of u8, each with the depthwise one behind it in float, row by row in one kernel.

Sums of a dense layer stay float32 in a few rows that remain in cache, and are rounded once: behind the depthwise layer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.amx import (
    DOWN,
    across_of,
    declare_tiles,
    for_spans,
    lanes_of,
    pixels_of,
    tiles_of,
)
from facedeploy.compiler.kernels.blocked.depthwise import depthwise_pixels, depthwise_row
from facedeploy.compiler.kernels.blocked.direct import Source, Window
from facedeploy.compiler.kernels.blocked.emit import (
    F32,
    activate,
    argument,
    fill_halo,
    for_tiles,
    kernel,
    load,
    repeat,
    splat,
    store,
)
from facedeploy.compiler.kernels.blocked.integers import GROUP, S32, U8, IntegerArithmetic, has_amx, store_u8, to_u8
from facedeploy.compiler.kernels.blocked.layout import Blocked
from facedeploy.compiler.kernels.blocked.links import Link, Reach, reach_of, run
from facedeploy.compiler.kernels.blocked.rows import Rows, blocked_ring
from facedeploy.compiler.kernels.blocked.tiling import Tile, choose_tile
from facedeploy.compiler.target import Target


@dataclass(frozen=True)
class PairSpec:
    """A dense layer with its slope, whose result is as `middle` says, and the depthwise one that makes `output`.

    `middle` has the halo that the depthwise one needs. `quantized`: the output is u8, else float32.
    """

    window: Window
    slope: float
    middle: Blocked
    depthwise: Window
    depthwise_slope: float
    output: Blocked
    quantized: bool = True


def integer_cascade(name: str, source: Blocked, layers: Sequence[PairSpec], target: Target) -> tuple[Any, list[Tile]]:
    """`name(source, for each layer: weights, start, steps, depthwise weights, bias, zero point; output)`.

    The dense arguments are those of `IntegerArithmetic`, or of `declare_tiles`. Weights (blocks, h, w, block) and bias
    (blocks, block) of the depthwise layer are for blocks of `middle` and in steps of the output, whose zero point is
    (blocks, block) float32. All but the first dense layer are pointwise. Returns the PrimFunc and each dense layer's
    tile.
    """
    output = layers[-1].output
    with kernel(name) as builder:
        rows: Any = Rows(argument("source", source.shape, U8), source)
        links: list[Link] = []
        for index, layer in enumerate(layers):
            before = links[-1] if links else rows
            link = TileLink if in_tiles(layer, layers[index - 1].output if index else source, target) else DenseLink
            dense = link(before, layer, index, target)
            links += [dense, DepthwiseLink(dense, layer, index, target)]
        out = argument("out", output.shape, U8 if layers[-1].quantized else F32)
        last = links[-1]
        assert isinstance(last, DepthwiseLink)
        last.out = out
        last.fill_halo()
        run(links, output.batch)
    return builder.get(), [link.tile for link in links if isinstance(link, (DenseLink, TileLink))]


def in_tiles(layer: PairSpec, source: Blocked, target: Target) -> bool:
    """Whether the dense layer is computed in AMX's tiles: where that has fewer cycles for a pixel and 16 outputs.

    A product of tiles takes 16 cycles for 16 pixels, and sums pass through memory; vectors have two dot products a
    cycle.
    """
    taps = layer.window.kernel[0] * layer.window.kernel[1]
    through_memory = 2
    chunks = source.blocks * taps
    return has_amx(target) and chunks + through_memory < chunks * source.block / GROUP / 2


@dataclass
class IntegerLink:
    """What links that compute a dense convolution of u8 have in common.

    `source`: the link before, or the rows of the whole input.
    """

    source: Any
    spec: PairSpec
    index: int
    target: Target
    rows: Rows = field(init=False)

    @property
    def layout(self) -> Blocked:
        """Of the input."""
        return self.source.layout if isinstance(self.source, Rows) else self.source.spec.output

    @property
    def source_rows(self) -> Rows:
        """Of the input."""
        return self.source if isinstance(self.source, Rows) else self.source.rows

    @property
    def height(self) -> int:
        return self.spec.middle.height

    @property
    def reach(self) -> Reach:
        return reach_of(self.spec.window)

    def allocate(self, ring: int | None) -> None:
        assert ring is not None
        self.rows = blocked_ring(self.spec.middle, ring)

    def clear(self, y: Any) -> None:
        self.rows.clear(y)

    def put(self, value: Any, n: Any, block: Any, y: Any, x: Any) -> None:
        """Store the activated sum of a pixel."""
        lanes = self.spec.middle.block
        store(self.rows.buffer, activate(value, self.spec.slope, lanes), [*self.rows.at(n, block, y, x), 0], lanes)


@dataclass
class DenseLink(IntegerLink):
    """Link: by dot products of vectors."""

    def __post_init__(self) -> None:
        middle = self.spec.middle
        self.tile = choose_tile(self.target, width=middle.width, blocks=middle.blocks, lanes=middle.block)
        shape = (middle.blocks, self.layout.blocks, *self.spec.window.kernel)
        arithmetic = IntegerArithmetic(self.target)
        self.products = arithmetic.declare(str(self.index), shape, self.layout.block, middle.block)

    def row(self, n: Any, y: Any) -> None:
        source = self.source_rows
        window, middle = self.spec.window, self.spec.middle
        (stride_h, stride_w), (dilation_h, dilation_w) = window.stride, window.dilation

        def tile_of(block: Any, blocks: int, x: Any, pixels: int) -> None:
            sums = self.products.sums(block, blocks, pixels)
            with T.serial(0, window.kernel[0]) as i, T.serial(0, window.kernel[1]) as j:
                row = y * stride_h + i * dilation_h - window.padding[0]

                def at(pixel: int, c: Any) -> Any:
                    return source.at(n, c, row, (x + pixel) * stride_w + j * dilation_w - window.padding[1])

                self.products.add(
                    sums, pixels, self.layout.blocks, lambda index, c: [block + index, c, i, j], source.buffer, at
                )
            for index in range(blocks):
                for pixel in range(pixels):
                    total = self.products.total(sums, index, pixel, block + index)
                    self.put(total, n, block + index, y, x + pixel)

        def blocks_of(block: Any, blocks: int) -> None:
            for_tiles(middle.width, self.tile.pixels, lambda x, pixels: tile_of(block, blocks, x, pixels))

        for_tiles(middle.blocks, self.tile.blocks, blocks_of)


@dataclass
class TileLink(IntegerLink):
    """Link: in AMX's tiles."""

    def __post_init__(self) -> None:
        middle = self.spec.middle
        pixels, across = pixels_of(middle.width), across_of(tiles_of(middle))
        down = min(DOWN[across], middle.width // pixels)
        reason = f"{down} tiles of {pixels} pixels x {across} of {lanes_of(middle)} channels"
        self.tile = Tile(pixels * down, across, 1, reason)
        whole = Source(self.layout, 0, self.layout.blocks)
        self.products = declare_tiles(str(self.index), [whole], self.spec.window, middle, pixels, down, self.target)

    def allocate(self, ring: int | None) -> None:
        super().allocate(ring)
        self.scratch, self.configuration = self.products.scratch(), self.products.configuration()

    def row(self, n: Any, y: Any) -> None:
        products, middle = self.products, self.spec.middle
        source = (self.source_rows, 0, self.layout.blocks)
        products.configure(self.configuration)

        def channels_of(tile: Any, across: int) -> None:
            def span(x: Any) -> None:
                starts = [x + m * products.pixels for m in range(products.down)]
                products.sum([source], [(n, y, start) for start in starts], tile, across, self.scratch)
                for m, start in enumerate(starts):
                    for index in range(across):
                        for pixel in range(products.pixels):
                            total = load(self.scratch, [m * across + index, pixel, 0], middle.block, S32)
                            value = T.Bind(products.requantization.real(total, tile + index))
                            self.put(value, n, tile + index, y, start + pixel)

            for_spans(middle.width, products.pixels * products.down, span)

        for_tiles(products.tiles, products.across, channels_of)
        products.release()


@dataclass
class DepthwiseLink:
    """Link: a depthwise convolution of the float rows of a dense one."""

    source: IntegerLink
    spec: PairSpec
    index: int
    target: Target
    out: Any = None
    rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        middle, output = self.spec.middle, self.spec.output
        self.weights = argument(
            f"depth_weights{self.index}", (middle.blocks, *self.spec.depthwise.kernel, middle.block)
        )
        self.bias = argument(f"depth_bias{self.index}", (middle.blocks, middle.block))
        self.zero_point = argument(f"zero_point{self.index}", (output.blocks, output.block))

    @property
    def height(self) -> int:
        return self.spec.output.height

    @property
    def reach(self) -> Reach:
        return reach_of(self.spec.depthwise)

    def allocate(self, ring: int | None) -> None:
        output = self.spec.output
        if ring is None:
            self.rows = Rows(self.out, output)
            return
        # The pointwise layer behind reads no pixel that is none of the image.
        shape = (output.blocks, ring, output.width + 2 * output.halo, output.block)
        self.rows = Rows(T.alloc_buffer(shape, U8, scope="global"), output, ring)

    def clear(self, y: Any) -> None:
        pass

    def fill_halo(self) -> None:
        """Of the whole output: what stands for 0."""
        lanes = self.spec.output.block

        def zero(block: Any) -> Any:
            value = splat(0.0, lanes)
            return T.Bind(
                to_u8(value, load(self.zero_point, [block, 0], lanes), lanes) if self.spec.quantized else value
            )

        fill_halo(self.out, self.spec.output, zero)

    def row(self, n: Any, y: Any) -> None:
        middle, output, window = self.spec.middle, self.spec.output, self.spec.depthwise
        joined = self._joined
        lanes = joined * middle.block
        pixels = min(output.width, joined * depthwise_pixels(self.target, output.width))
        with T.serial(0, middle.blocks) as c:
            block, lane = c * middle.block // output.block, c * middle.block % output.block
            zero_point = T.Bind(repeat(load(self.zero_point, [block, lane], middle.block), middle.block, joined))

            def put(x: Any, values: Iterable[Any]) -> None:
                def at(k: int) -> list[Any]:
                    return [*self.rows.at(n, block, y, x + k * joined), lane]

                if self.spec.quantized:
                    store_u8(self.rows.buffer, list(values), zero_point, at, lanes, self.target)
                    return
                for k, value in enumerate(values):
                    store(self.rows.buffer, value, at(k), lanes)

            slope, place = self.spec.depthwise_slope, (n, c, y)
            rows = self.source.rows
            depthwise_row(rows, self.weights, self.bias, window, place, output.width, pixels, slope, put, joined)

    @property
    def _joined(self) -> int:
        """Pixels of a narrow block that fill a vector."""
        joined = max(1, self.target.float32_lanes // self.spec.middle.block)
        return joined if self.spec.depthwise.stride[1] == 1 and self.spec.output.width % joined == 0 else 1
