"""Dense convolution, direct: any kernel, stride, dilation and padding; several sources instead of a concatenation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.emit import (
    F32,
    Epilogue,
    accumulators,
    argument,
    for_tiles,
    kernel,
    load,
    share,
    store,
)
from facedeploy.compiler.kernels.blocked.layout import Blocked
from facedeploy.compiler.kernels.blocked.products import FLOAT, Arithmetic, FloatProducts, Products
from facedeploy.compiler.kernels.blocked.tiling import L2_BYTES, Tile, differing_tiles, integer_rows
from facedeploy.compiler.target import Target

L1_BYTES = 32 * 1024  # The smallest of these targets.
PANEL_BYTES = L1_BYTES // 2  # Of weights.
PANEL_PIXELS = 400  # That share a panel at least.


@dataclass(frozen=True)
class Source:
    """The blocks [first, first + blocks) of a tensor, as channels of a convolution's input."""

    layout: Blocked
    first: int
    blocks: int

    @property
    def channels(self) -> list[int]:
        """How many channels each block has: all but a tensor's last block are full."""
        ends = (min(self.layout.channels, (block + 1) * self.layout.block) for block in self._range)
        return [end - block * self.layout.block for end, block in zip(ends, self._range, strict=True)]

    @property
    def _range(self) -> range:
        return range(self.first, self.first + self.blocks)


def channel_blocks(sources: Sequence[Source]) -> list[list[int]]:
    """For each input block of a convolution of these sources, the channels of its weights that lie in it."""
    blocks, start = [], 0
    for source in sources:
        for count in source.channels:
            blocks.append(list(range(start, start + count)))
            start += count
    return blocks


@dataclass(frozen=True)
class Window:
    """How a kernel walks over its input: sizes, strides, dilations (height, width), px; padding before, (top, left)."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    def halo(self, source_hw: tuple[int, int], output_hw: tuple[int, int]) -> int:
        """The halo a source needs, px, so that every read is inside of its buffer."""
        needs = [0, *self.padding]
        for axis in range(2):
            last = (output_hw[axis] - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis]
            needs.append(last - self.padding[axis] - (source_hw[axis] - 1))
        return max(needs)


def direct_tiles(sources: Sequence[Source], output: Blocked, window: Window, target: Target) -> list[Tile]:
    """Tiles of `direct_convolution` that are worth a measurement, the one that the model chooses first."""
    lanes, inner = output.block, sources[0].layout.block
    source_blocks = sum(source.blocks for source in sources)
    # What a row of outputs reads anew: of rows and columns that the kernel strides over, nothing.
    rows_read, columns_read = (
        min(side, stride) / stride for side, stride in zip(window.kernel, window.stride, strict=True)
    )
    row_pixels = sources[0].layout.shape[3] * window.stride[0]
    row_bytes = int(row_pixels * rows_read * columns_read) * source_blocks * inner * 4

    def weights_of(blocks: int, input_blocks: int) -> int:
        return window.kernel[0] * window.kernel[1] * inner * lanes * 4 * blocks * input_blocks

    def fitting(blocks: int) -> int:
        """Input blocks whose weights for one tile stay in L1 while all pixels of the rows use them."""
        return max(1, PANEL_BYTES // weights_of(blocks, 1))

    def with_panel(tile: Tile) -> Tile:
        panel = fitting(tile.blocks)
        # With only two the sums' way through memory costs more than it saves.
        if 2 * panel >= source_blocks or weights_of(tile.blocks, source_blocks) <= whole_bytes:
            rows = max(1, min(output.height, L2_BYTES // max(1, row_bytes)))
            reason = f"{tile.reason}; {rows} rows of {row_bytes} B share a pass over weights in L2"
            return replace(tile, panel=source_blocks, rows=rows, reason=reason)
        # A panel that comes from beyond L2 takes as long as a few tiles.
        rows = min(output.height, -(-PANEL_PIXELS // output.width))
        reason = f"{tile.reason}; {rows} rows share the weights of {panel} input blocks in L1"
        return replace(tile, panel=panel, rows=rows, reason=reason)

    # Weights of two blocks that fit L1 as they are need no panels. But the source is read for every two blocks then:
    # not where four are all there is, or where strides make it pass through L1 with what lies between.
    whole_bytes = L1_BYTES if window.stride == (1, 1) and output.blocks > 4 else 0
    matrix = {"width": output.width, "blocks": output.blocks, "lanes": lanes}
    if 2 * fitting(4) < source_blocks and weights_of(2, source_blocks) <= whole_bytes:
        matrix |= {"max_blocks": 2, "max_pixels": 8}
    elif weights_of(4, 1) > L1_BYTES:
        matrix |= {"max_blocks": 2}
    tiles = list(map(with_panel, differing_tiles(target, **matrix)))
    best = tiles[0]
    other_panel = source_blocks if best.panel != source_blocks else min(source_blocks, fitting(best.blocks))
    others = [replace(best, panel=other_panel), replace(best, rows=max(1, best.rows // 4))]
    return list(dict.fromkeys([*tiles, *others]))


def integer_tiles(sources: Sequence[Source], output: Blocked, window: Window, target: Target) -> list[Tile]:
    """The same for integers: a pass takes all input blocks, a quarter of the bytes."""
    source = sources[0].layout
    row_bytes = (
        source.shape[3] * min(window.stride[0], window.kernel[0]) * sum(s.blocks for s in sources) * source.block
    )
    rows = integer_rows(output.height, row_bytes)
    blocks_in = sum(source.blocks for source in sources)

    def with_rows(tile: Tile) -> Tile:
        reason = f"{tile.reason}; {rows} rows of {row_bytes} B share a pass over weights in L2"
        return replace(tile, panel=blocks_in, rows=rows, reason=reason)

    return list(map(with_rows, differing_tiles(target, width=output.width, blocks=output.blocks, lanes=output.block)))


def direct_convolution(
    name: str,
    sources: Sequence[Source],
    output: Blocked,
    window: Window,
    epilogue: Epilogue,
    target: Target,
    tile: Tile | None = None,
    arithmetic: Arithmetic = FLOAT,
) -> tuple[Any, Tile]:
    """`name(sources..., weights and what else `arithmetic` declares, [residual], output)`.

    All sources have the same size, block and halo of at least `window.halo`. `tile` is one of `direct_tiles` or,
    for integers, `integer_tiles`: the first if None. Returns the PrimFunc and its tile.
    """
    lanes, inner = output.block, sources[0].layout.block
    source_blocks = sum(source.blocks for source in sources)
    tiles = direct_tiles if arithmetic == FLOAT else integer_tiles
    tile = tile or tiles(sources, output, window, target)[0]
    panel = tile.panel or source_blocks
    rows_outer = -(-output.height // tile.rows)
    with kernel(name) as builder:
        inputs = [
            argument(f"source_{index}", source.layout.shape, arithmetic.dtype) for index, source in enumerate(sources)
        ]
        products = arithmetic.declare("", (output.blocks, source_blocks, *window.kernel), inner, lanes)
        residual = argument("residual", epilogue.residual.shape, epilogue.residual_dtype) if epilogue.residual else None
        out = argument("out", output.shape, "uint8" if epilogue.quantized else F32)
        products.fill_halo(out, output, epilogue)

        def at(n: Any, block: Any, y: Any, x: Any) -> list[Any]:
            return [n, block, y + output.halo, x + output.halo, 0]

        def finish(value: Any, n: Any, block: Any, index: int, y: Any, x: Any) -> None:
            slope = epilogue.slope_of(block + index)
            place = (n, block + index, y, x)
            store(out, products.complete(value, epilogue, slope, residual, place), at(*place), lanes)

        def sum_tile(n: Any, y: Any, x: Any, pixels: int, block: Any, blocks: int) -> None:
            sums = products.sums(block, blocks, pixels)
            before = 0
            for source, data in zip(sources, inputs, strict=True):
                place = (n, y, x, block)
                _add_source(products, sums, pixels, source, data, window, place, (0, source.blocks, before))
                before += source.blocks
            for index in range(blocks):
                for pixel in range(pixels):
                    finish(products.total(sums, index, pixel, block + index), n, block, index, y, x + pixel)

        def sum_panels(n: Any, for_row: Callable[[Callable[[Any], None]], None], block: Any, blocks: int) -> None:
            """Some input blocks at a time, for all rows; sums, of float32, are kept in the output in between."""
            assert isinstance(products, FloatProducts)
            bias = products.bias

            def each(body: Callable[[Any, Any, int], None]) -> None:
                def row(y: Any) -> None:
                    with T.serial(0, output.width) as x:
                        for index in range(blocks):
                            body(y, x, index)

                for_row(row)

            each(
                lambda y, x, index: store(out, load(bias, [block + index, 0], lanes), at(n, block + index, y, x), lanes)
            )
            before = 0
            for source, data in zip(sources, inputs, strict=True):

                def add(c: Any, size: int, source: Source = source, data: Any = data, before: int = before) -> None:
                    def tile_of(y: Any, x: Any, pixels: int) -> None:
                        sums = accumulators(
                            blocks,
                            pixels,
                            lanes,
                            lambda index, pixel: load(out, at(n, block + index, y, x + pixel), lanes),
                        )
                        place = (n, y, x, block)
                        _add_source(products, sums, pixels, source, data, window, place, (c, size, before))
                        for index, total in enumerate(sums):
                            for pixel in range(pixels):
                                value = load(total, [pixel, 0], lanes)
                                store(out, value, at(n, block + index, y, x + pixel), lanes)

                    for_row(lambda y: for_tiles(output.width, tile.pixels, lambda x, pixels: tile_of(y, x, pixels)))

                for_tiles(source.blocks, panel, add)
                before += source.blocks

            def complete_at(y: Any, x: Any, index: int) -> None:
                finish(load(out, at(n, block + index, y, x), lanes), n, block, index, y, x)

            if epilogue != Epilogue():
                each(complete_at)

        with share(output.batch * rows_outer) as (start, count), T.serial(0, count) as step:
            n, first_row = (start + step) // rows_outer, (start + step) % rows_outer * tile.rows

            def for_row(body: Callable[[Any], None]) -> None:
                extent = tile.rows if output.height % tile.rows == 0 else T.min(tile.rows, output.height - first_row)
                with T.serial(0, extent) as row:
                    body(first_row + row)

            def rows_of(block: Any, blocks: int) -> None:
                if panel < source_blocks:
                    sum_panels(n, for_row, block, blocks)
                else:
                    for_row(
                        lambda y: for_tiles(
                            output.width, tile.pixels, lambda x, pixels: sum_tile(n, y, x, pixels, block, blocks)
                        )
                    )

            for_tiles(output.blocks, tile.blocks, rows_of)
    return builder.get(), tile


def _add_source(
    products: Products,
    sums: Sequence[Any],
    pixels: int,
    source: Source,
    data: Any,
    window: Window,
    place: tuple[Any, Any, Any, Any],
    channels: tuple[Any, int, int],
) -> None:
    """The products of blocks of one source. `place`: image, row, column, output block.

    `channels`: the first of the source's blocks, how many, and how many blocks of weights come before this source's.
    """
    n, y, x, block = place
    first, blocks_in, before = channels
    (stride_h, stride_w), (dilation_h, dilation_w) = window.stride, window.dilation
    top, left = source.layout.halo - window.padding[0], source.layout.halo - window.padding[1]
    with T.serial(0, window.kernel[0]) as i, T.serial(0, window.kernel[1]) as j:
        row = y * stride_h + i * dilation_h + top
        products.add(
            sums,
            pixels,
            blocks_in,
            lambda index, c: [block + index, first + c + before, i, j],
            data,
            lambda pixel, c: [n, first + c + source.first, row, (x + pixel) * stride_w + j * dilation_w + left],
        )
