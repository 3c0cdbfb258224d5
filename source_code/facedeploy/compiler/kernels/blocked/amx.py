"""Sums of products of u8 by s8 in AMX's tiles: sixteen pixels by sixteen output channels at a time.

Tiles: Intel 64 and IA-32 Architectures Optimization Reference Manual, chapter on AMX. A product of two tiles takes
some sixteen cycles however much of them is used (measured: 16 rows or 4, 64 bytes or 4), so what counts is how many
there are: sixteen pixels, and 64 bytes of each, which are channels or, where those are few, neighboring columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.direct import Source, Window
from facedeploy.compiler.kernels.blocked.emit import argument, splat, store
from facedeploy.compiler.kernels.blocked.integers import GROUP, S8, S32, U8, Requantization, Step
from facedeploy.compiler.kernels.blocked.layout import LANES, Blocked
from facedeploy.compiler.kernels.blocked.rows import Rows
from facedeploy.compiler.target import Target

TILE_ROWS, TILE_BYTES, TILES = 16, 64, 8
# Tiles of pixels that are summed at once, by tiles of output channels: all fit, and products outweigh loads.
DOWN = {1: 3, 2: 2, 3: 1}
PALETTE, ROW_BYTES, ROWS = 0, 16, 48  # Where they begin in a configuration, bytes.

# A pixel of the output: image, row, column.
Place = tuple[Any, Any, Any]


def integer_block(channels: int) -> int:
    """The block for u8 that tiles read: as many channels as a tile's row holds, unless some would stay empty."""
    if channels <= 8:
        return 4 if channels <= 4 else 8
    full = -(-channels // LANES) * LANES
    return next(block for block in (TILE_BYTES, TILE_BYTES // 2, LANES) if full % block == 0)


def chunk_of(sources: Sequence[Source], window: Window) -> int:
    """Input channels, bytes, that one tile reads of a pixel.

    All columns of a kernel at once, where they are neighbors in memory and fit, count as one pixel's.
    """
    block = min(source.layout.block for source in sources)
    joined = window.kernel[1] * block
    if window.dilation[1] == 1 and len(sources) == sources[0].blocks == 1 and joined <= TILE_BYTES:
        return joined
    return block


def channel_chunks(sources: Sequence[Source]) -> list[list[int]]:
    """For each part of a pixel that one tile reads, the channels of the weights that lie in it: see `pack_integers`."""
    size = min(source.layout.block for source in sources)
    chunks, start = [], 0
    for source in sources:
        for count in source.channels:
            ends = [min(count, first + size) for first in range(0, source.layout.block, size)]
            firsts = [0, *ends[:-1]]
            chunks += [list(range(start + first, start + end)) for first, end in zip(firsts, ends, strict=True)]
            start += count
    return chunks


def lanes_of(output: Blocked) -> int:
    """Output channels of a tile."""
    return min(LANES, output.block)


def tiles_of(output: Blocked) -> int:
    """Tiles of output channels."""
    return output.blocks * output.block // lanes_of(output)


def across_of(tiles: int) -> int:
    """How many tiles of output channels are summed at once."""
    return tiles if tiles in DOWN else 2


def for_spans(total: int, size: int, body: Callable[[Any], None]) -> None:
    """Run `body(start)` for spans of `size` that cover `total`: the last one overlaps where they do not divide it."""
    count = -(-total // size)
    if count == 1:
        body(0)
        return
    with T.serial(0, count) as index:
        body(index * size if total % size == 0 else T.Bind(tirx.Min(index * size, tirx.const(total - size, "int32"))))


def pixels_of(width: int) -> int:
    """Pixels in a tile, so that as few as can be cover a row."""
    return -(-width // -(-width // TILE_ROWS))


# Rows of a source, its first block that is read and how many are.
TileSource = tuple[Rows, int, int]


def tile_sources(sources: Sequence[Source], inputs: Sequence[Any]) -> list[TileSource]:
    """Sources that are whole tensors: `inputs` are their buffers."""
    return [
        (Rows(data, source.layout), source.first, source.blocks) for source, data in zip(sources, inputs, strict=True)
    ]


@dataclass(frozen=True)
class TileProducts:
    """Sums for `down` tiles of `pixels` neighbors in a row, by at most `across` tiles of `output`'s channels.

    `size`: input channels in a chunk; `chunk`: bytes that a tile reads of a pixel, see `chunk_of`.
    """

    window: Window
    size: int
    chunk: int
    output: Blocked
    pixels: int
    down: int
    weights: Any
    requantization: Requantization

    @property
    def lanes(self) -> int:
        """Output channels in a tile."""
        return lanes_of(self.output)

    @property
    def tiles(self) -> int:
        """Tiles of output channels."""
        return tiles_of(self.output)

    @property
    def across(self) -> int:
        """How many of them are summed at once."""
        return across_of(self.tiles)

    def place_of(self, tile: Any) -> tuple[Any, Any]:
        """Output block and first lane of a tile of channels."""
        each = self.output.block // self.lanes
        return tile // each, tile % each * self.lanes

    def configuration(self) -> Any:
        """What `configure` takes: tiles for sums, then for pixels, then for weights."""
        weights = (self.chunk // GROUP, GROUP * self.lanes)
        shapes = [(self.pixels, GROUP * self.lanes)] * (self.down * self.across)
        shapes += [(self.pixels, self.chunk)] * self.down + [weights] * self.across
        assert len(shapes) <= TILES
        configuration = T.alloc_buffer((TILE_BYTES,), U8, scope="local")
        store(configuration, splat(0, TILE_BYTES, U8), [0], TILE_BYTES)
        T.buffer_store(configuration, tirx.const(1, U8), [PALETTE])
        for tile, (rows, row_bytes) in enumerate(shapes):
            T.buffer_store(configuration, tirx.const(row_bytes, U8), [ROW_BYTES + 2 * tile])
            T.buffer_store(configuration, tirx.const(rows, U8), [ROWS + tile])
        return configuration

    def configure(self, configuration: Any) -> None:
        """Make the tiles of the running thread."""
        _emit("ldtilecfg", configuration.access_ptr("r"))

    def release(self) -> None:
        """Give the tiles back, which makes switching to other threads cheaper."""
        _emit("tilerelease")

    def scratch(self, steps: int = 1) -> Any:
        """Memory for sums of so many calls of `sum`: (tiles, pixels, lanes) int32."""
        return T.alloc_buffer((steps * self.down * self.across, self.pixels, self.lanes), S32, scope="global")

    def sum(
        self,
        sources: Sequence[TileSource],
        places: Sequence[Place],
        tile: Any,
        across: int,
        scratch: Any,
        first: Any = 0,
        between: Sequence[Callable[[], None]] = (),
    ) -> None:
        """Sums for the `down` tiles of pixels that begin at `places`, and `across` tiles of channels from `tile` on.

        They are in `scratch` afterwards: that of place m and the n-th tile of channels at first + m * across + n.
        `between` is code for the vectors, which runs among the first products, so that tiles and vectors work at once.
        """
        sums = {(m, n): m * across + n for m in range(len(places)) for n in range(across)}
        for (_, n), register in sums.items():
            _load(register, self.requantization.start, self.place_of(tile + n), 0)
        before = 0
        for index, source in enumerate(sources):
            self._add(source, before, places, (tile, across), sums, between if index == 0 else ())
            before += source[2] * source[0].layout.block // self.size
        for register in sums.values():
            address = tirx.address_of(scratch[first + register, 0, 0])
            _emit("tilestored64", _tile(register), address, tirx.const(GROUP * self.lanes, "int64"))

    def _add(
        self,
        source: TileSource,
        before: int,
        places: Sequence[Place],
        channels: tuple[Any, int],
        sums: dict[tuple[int, int], int],
        between: Sequence[Callable[[], None]],
    ) -> None:
        """The products of one source, which has `before` chunks of others before its own."""
        (rows, first, blocks), (tile, across), window = source, channels, self.window
        (stride_h, stride_w), (dilation_h, dilation_w) = window.stride, window.dilation
        columns = window.kernel[1] if self.chunk == self.size else 1
        pixels_at = self.down * self.across
        weights_at = pixels_at + self.down
        parts = rows.layout.block // self.size

        def products(c: Any, i: Any, between: Sequence[Callable[[], None]] = ()) -> None:
            """Of one row of the kernel, and a block of channels."""
            waiting, total = list(between), parts * columns * len(sums)
            done = 0
            for part in range(parts):
                for j in range(columns):
                    for n in range(across):
                        at = [tile + n, before + c * parts + part, i, j, 0, 0]
                        _load(weights_at + n, self.weights, at, GROUP * self.lanes)
                    for m, (image, y, x) in enumerate(places):
                        row = y * stride_h + i * dilation_h - window.padding[0]
                        column = x * stride_w + j * dilation_w - window.padding[1]
                        at = [*rows.at(image, first + c, row, column), part * self.size]
                        _load(pixels_at + m, rows.buffer, at, stride_w * rows.layout.block)
                        for n in range(across):
                            _emit("tdpbusd", *map(_tile, (sums[m, n], pixels_at + m, weights_at + n)))
                            done += 1
                            while len(waiting) * total > (total - done) * len(between):
                                waiting.pop(0)()

        begun = 0
        if between:
            height = window.kernel[0]
            for i in range(height):
                products(0, i, between[i * len(between) // height : (i + 1) * len(between) // height])
            begun = 1
        if begun < blocks:
            with T.serial(begun, blocks) as c, T.serial(0, window.kernel[0]) as i:
                products(c, i)


def declare_tiles(
    suffix: str, sources: Sequence[Source], window: Window, output: Blocked, pixels: int, down: int, target: Target
) -> TileProducts:
    """The next arguments of the kernel, and what they are for.

    Weights as `pack_integers` makes them of `channel_chunks`, with `lanes_of` outputs a block; where sums start, and
    `Step`s, for blocks of the output.
    """
    lanes = lanes_of(output)
    size = min(source.layout.block for source in sources)
    chunks = sum(source.blocks * source.layout.block // size for source in sources)
    weights = argument(f"weights{suffix}", (tiles_of(output), chunks, *window.kernel, size // GROUP, GROUP * lanes), S8)
    start = argument(f"start{suffix}", (output.blocks, output.block), S32)
    steps = argument(f"steps{suffix}", (len(Step), output.blocks, output.block))
    requantization = Requantization(start, steps, lanes, target)
    return TileProducts(window, size, chunk_of(sources, window), output, pixels, down, weights, requantization)


def _tile(register: int) -> Any:
    return tirx.IntImm("int8", register)


def _emit(name: str, *operands: Any) -> None:
    T.evaluate(tirx.call_llvm_intrin("void", f"llvm.x86.{name}", *operands))


def _load(register: int, buffer: Any, at: Sequence[Any], row_bytes: int) -> None:
    """Rows from `at` on, `row_bytes` apart."""
    address = tirx.address_of(buffer[tuple(at)])
    _emit("tileloadd64", _tile(register), address, tirx.const(row_bytes, "int64"))
