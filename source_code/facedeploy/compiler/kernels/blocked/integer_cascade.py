"""Dense convolutions of u8, each with the depthwise one behind it in float, row by row in one kernel.

Sums of a dense layer stay float32 in a few rows that remain in cache, and are rounded once: behind the depthwise layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.depthwise import depthwise_pixels, depthwise_row
from facedeploy.compiler.kernels.blocked.direct import Window
from facedeploy.compiler.kernels.blocked.emit import (
    F32,
    activate,
    argument,
    fill_halo,
    for_tiles,
    kernel,
    load,
    splat,
    store,
)
from facedeploy.compiler.kernels.blocked.integers import U8, IntegerArithmetic, to_u8
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

    The dense arguments are those of `IntegerArithmetic`. Weights (blocks, h, w, block) and bias (blocks, block) of the
    depthwise layer are in steps of its output, whose zero point is (blocks, block) float32. All but the first dense
    layer are pointwise. Returns the PrimFunc and each dense layer's tile.
    """
    output = layers[-1].output
    tiles = [
        choose_tile(target, width=layer.middle.width, blocks=layer.middle.blocks, lanes=layer.middle.block)
        for layer in layers
    ]
    with kernel(name) as builder:
        rows: Any = Rows(argument("source", source.shape, U8), source)
        links: list[Link] = []
        for index, (layer, tile) in enumerate(zip(layers, tiles, strict=True)):
            dense = DenseLink(links[-1] if links else rows, layer, index, target, tile)
            links += [dense, DepthwiseLink(dense, layer, index, target)]
        out = argument("out", output.shape, U8 if layers[-1].quantized else F32)
        last = links[-1]
        assert isinstance(last, DepthwiseLink)
        last.out = out
        last.fill_halo()
        run(links, output.batch)
    return builder.get(), tiles


@dataclass
class DenseLink:
    """Link: a dense convolution of u8. `source`: the link before, or the rows of the whole input."""

    source: Any
    spec: PairSpec
    index: int
    target: Target
    tile: Tile
    rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        self.layout: Blocked = self.source.layout if isinstance(self.source, Rows) else self.source.spec.output
        middle = self.spec.middle
        shape = (middle.blocks, self.layout.blocks, *self.spec.window.kernel)
        arithmetic = IntegerArithmetic(self.target)
        self.products = arithmetic.declare(str(self.index), shape, self.layout.block, middle.block)

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

    def row(self, n: Any, y: Any) -> None:
        source: Rows = self.source if isinstance(self.source, Rows) else self.source.rows
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
                    value = activate(total, self.spec.slope, middle.block)
                    store(self.rows.buffer, value, [*self.rows.at(n, block + index, y, x + pixel), 0], middle.block)

        def blocks_of(block: Any, blocks: int) -> None:
            for_tiles(middle.width, self.tile.pixels, lambda x, pixels: tile_of(block, blocks, x, pixels))

        for_tiles(middle.blocks, self.tile.blocks, blocks_of)


@dataclass
class DepthwiseLink:
    """Link: a depthwise convolution of the float rows of a dense one."""

    source: DenseLink
    spec: PairSpec
    index: int
    target: Target
    out: Any = None
    rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        output = self.spec.output
        self.weights = argument(
            f"depth_weights{self.index}", (output.blocks, *self.spec.depthwise.kernel, output.block)
        )
        self.bias = argument(f"depth_bias{self.index}", (output.blocks, output.block))
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
        fill_halo(self.out, self.spec.output, lambda block: T.Bind(self._stored(splat(0.0, lanes), block)))

    def row(self, n: Any, y: Any) -> None:
        output, window, lanes = self.spec.output, self.spec.depthwise, self.spec.output.block
        pixels = depthwise_pixels(self.target, output.width)
        with T.serial(0, output.blocks) as c:

            def put(x: Any, value: Any) -> None:
                store(self.rows.buffer, self._stored(value, c), [*self.rows.at(n, c, y, x), 0], lanes)

            slope = self.spec.depthwise_slope
            depthwise_row(
                self.source.rows, self.weights, self.bias, window, (n, c, y), output.width, pixels, slope, put
            )

    def _stored(self, value: Any, block: Any) -> Any:
        lanes = self.spec.output.block
        return to_u8(value, load(self.zero_point, [block, 0], lanes), lanes) if self.spec.quantized else value
