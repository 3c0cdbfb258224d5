"""Convolution of a planar (NCHW) tensor with few channels: a net's first layer, which reads the image as it comes.

Rows of the image are split by column modulo stride first: then what neighboring outputs read are neighbors, padding is
a margin of zeros, and no read needs a check.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
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
    segments,
    store,
    zero_halo,
)
from facedeploy.compiler.kernels.blocked.layout import Blocked, FloatArray
from facedeploy.compiler.kernels.blocked.links import Reach, reach_of, run
from facedeploy.compiler.kernels.blocked.rows import PlanarRows, Rows, blocked_ring, for_vectors, planar_ring
from facedeploy.compiler.kernels.blocked.tiling import Tile, choose_tile
from facedeploy.compiler.target import Target

MAX_CHANNELS = 4  # Beyond, the image is better converted to blocks.
MAX_PIXELS = 6  # A tap's weights are read once for them; the sums of more compete for registers with 27 of those.
NARROW = 8  # Output channels that vectors along x can sum at once, one register or two each.


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
    """`name(source, weights, bias, output)`; source (N, C, H, W), weights as `pack_planar` makes them."""
    with kernel(name) as builder:
        split = SplitRows(image_argument(source_shape), source_shape, window, output.width, target.float32_lanes)
        first = FirstLayer(split, output, slope, target)
        first.out = argument("out", output.shape)
        zero_halo(first.out, output)
        run([split, first], output.batch)
    return builder.get(), first.tile


def image_argument(shape: Sequence[int]) -> Any:
    """The image as a caller has it: aligned as its numbers are, and no better."""
    return T.arg("source", T.buffer(tuple(shape), "float32", align=4))


@dataclass
class SplitRows:
    """Link: rows of the image, as `PlanarRows` of its reader's stride. `outputs`: the reader's, a row."""

    image: Any
    shape: tuple[int, int, int, int]
    window: Window
    outputs: int
    lanes: int
    rows: PlanarRows = field(init=False)
    reach: Reach = field(init=False, default_factory=lambda: Reach(1, 0, 0))

    @property
    def height(self) -> int:
        return self.shape[2]

    def allocate(self, ring: int | None) -> None:
        assert ring is not None
        self.rows = planar_ring(self.shape[1], ring, self.window, self.shape[3], self.outputs)

    def clear(self, y: Any) -> None:
        self.rows.clear(y)

    def row(self, n: Any, y: Any) -> None:
        width, stride = self.shape[3], self.rows.stride
        with T.serial(0, self.shape[1]) as c:

            def part(x: Any, lanes: int) -> None:
                vectors = [T.Bind(load(self.image, [n, c, y, x * stride + k * lanes], lanes)) for k in range(stride)]
                for phase in range(stride):
                    picked = [phase + stride * lane for lane in range(lanes)]
                    value = tirx.Shuffle(vectors, picked) if stride > 1 and lanes > 1 else vectors[phase]
                    store(self.rows.buffer, value, self.rows.tap(c, y, x, phase), lanes)

            for_vectors(width // stride, self.lanes, part)
            for column in range(width - width % stride, width):
                store(self.rows.buffer, self.image[n, c, y, column], self.rows.tap(c, y, 0, column), 1)


def first_layer_tile(output: Blocked, target: Target, *, along_x: bool) -> Tile:
    """Of a `FirstLayer`; `along_x`: whether its rows are planar."""
    if along_x:
        vectors = 2 if target.vector_bits == 512 else 1
        sums = vectors * output.channels
        reason = f"{vectors} vectors along x: sums of all {output.channels} channels in {sums} registers"
        return Tile(vectors, 1, 1, reason)
    tile = choose_tile(target, width=output.width, blocks=output.blocks, lanes=output.block, max_blocks=2)
    if tile.pixels <= MAX_PIXELS:
        return tile
    capped = f"{tile.reason}; but {MAX_PIXELS} pixels, to leave registers to the taps' weights"
    return replace(tile, pixels=MAX_PIXELS, reason=capped)


@dataclass
class FirstLayer:
    """Link: the convolution of split rows. Its rows are blocked, in a ring or in `out`; or, with `reader`, planar.

    `reader` is the window of a layer that reads planar rows, and the outputs it makes a row.
    """

    split: SplitRows
    output: Blocked
    slope: float
    target: Target
    reader: tuple[Window, int] | None = None
    out: Any = None
    rows: Rows | PlanarRows = field(init=False)

    def __post_init__(self) -> None:
        blocks, block = self.output.blocks, self.output.block
        channels = self.split.shape[1]
        self.weights = argument("weights", (blocks, *self.split.window.kernel, channels, block))
        self.bias = argument("bias", (blocks, block))
        self.tile = first_layer_tile(self.output, self.target, along_x=self.reader is not None)

    @property
    def height(self) -> int:
        return self.output.height

    @property
    def reach(self) -> Reach:
        return reach_of(self.split.window)

    def allocate(self, ring: int | None) -> None:
        if ring is None:
            self.rows = Rows(self.out, self.output)
        elif self.reader:
            self.rows = planar_ring(self.output.channels, ring, self.reader[0], self.output.width, self.reader[1])
        else:
            self.rows = blocked_ring(self.output, ring)

    def clear(self, y: Any) -> None:
        self.rows.clear(y)

    def row(self, n: Any, y: Any) -> None:
        if isinstance(self.rows, PlanarRows):
            for start, count, vectors in segments(self.output.width // self._lanes, self.tile.pixels):
                with T.serial(0, count) as index:
                    self._along_x(self.rows, y, (start + index * vectors) * self._lanes, self._lanes, vectors)
            whole = self.output.width - self.output.width % self._lanes
            for_vectors(
                self.output.width - whole,
                self._lanes,
                lambda x, lanes: self._along_x(self.rows, y, whole + x, lanes, 1),  # type: ignore[arg-type]
            )
        else:
            for_tiles(
                self.output.blocks,
                self.tile.blocks,
                lambda block, blocks: for_tiles(
                    self.output.width, self.tile.pixels, lambda x, count: self._across(n, y, x, count, block, blocks)
                ),
            )

    @property
    def _lanes(self) -> int:
        return self.target.float32_lanes

    def _taps(self, y: Any, body: Callable[[Any, Any, Any, list[int]], None]) -> None:
        """`body(i, channel, source row, columns)` for each kernel row: a loop, since a large kernel in full would take
        LLVM minutes; `columns` are those that output 0 reads.
        """
        window = self.split.window
        columns = [j * window.dilation[1] - window.padding[1] for j in range(window.kernel[1])]
        with T.serial(0, window.kernel[0]) as i:
            row = T.Bind(y * window.stride[0] + i * window.dilation[0] - window.padding[0])
            with T.serial(0, self.split.shape[1]) as channel:
                body(i, channel, row, columns)

    def _across(self, n: Any, y: Any, x: Any, count: int, block: Any, blocks: int) -> None:
        """Vectors of output channels: `count` pixels of `blocks` blocks."""
        assert isinstance(self.rows, Rows)
        lanes, source = self.output.block, self.split.rows
        sums = accumulators(blocks, count, lanes, lambda index, _: load(self.bias, [block + index, 0], lanes))

        def taps(i: Any, channel: Any, row: Any, columns: list[int]) -> None:
            for j, column in enumerate(columns):
                vectors = [
                    T.Bind(load(self.weights, [block + index, i, j, channel, 0], lanes)) for index in range(blocks)
                ]
                for pixel in range(count):
                    scalar = source.buffer[tuple(source.tap(channel, row, x + pixel, column))]
                    value = broadcast(scalar, lanes)
                    for total, vector_of in zip(sums, vectors, strict=True):
                        store(total, load(total, [pixel, 0], lanes) + value * vector_of, [pixel, 0], lanes)

        self._taps(y, taps)
        for index, total in enumerate(sums):
            for pixel in range(count):
                place = [*self.rows.at(n, block + index, y, x + pixel), 0]
                store(self.rows.buffer, activate(load(total, [pixel, 0], lanes), self.slope, lanes), place, lanes)

    def _along_x(self, rows: PlanarRows, y: Any, x: Any, lanes: int, vectors: int) -> None:
        """Vectors of neighboring pixels: `vectors` of them for every output channel."""
        source, channels = self.split.rows, self.output.channels
        sums = accumulators(channels, vectors, lanes, lambda index, _: broadcast(self.bias[0, index], lanes))

        def taps(i: Any, channel: Any, row: Any, columns: list[int]) -> None:
            for j, column in enumerate(columns):
                values = [
                    T.Bind(load(source.buffer, source.tap(channel, row, x + part * lanes, column), lanes))
                    for part in range(vectors)
                ]
                for output, total in enumerate(sums):
                    weight = broadcast(self.weights[0, i, j, channel, output], lanes)
                    for part, value in enumerate(values):
                        store(total, load(total, [part, 0], lanes) + value * weight, [part, 0], lanes)

        self._taps(y, taps)
        for output, total in enumerate(sums):
            for part in range(vectors):
                value = activate(load(total, [part, 0], lanes), self.slope, lanes)
                store(rows.buffer, value, rows.tap(output, y, x + part * lanes, 0), lanes)
