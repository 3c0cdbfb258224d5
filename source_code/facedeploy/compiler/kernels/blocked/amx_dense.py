"""Dense convolution of u8 in AMX's tiles: any kernel, stride, dilation and padding; several sources."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.amx import (
    DOWN,
    Place,
    TileProducts,
    across_of,
    chunk_of,
    declare_tiles,
    for_spans,
    lanes_of,
    pixels_of,
    tile_sources,
    tiles_of,
)
from facedeploy.compiler.kernels.blocked.direct import Source, Window
from facedeploy.compiler.kernels.blocked.emit import F32, Epilogue, argument, for_tiles, kernel, load, share, store
from facedeploy.compiler.kernels.blocked.integers import PACKED, S32, U8, Step, store_u8
from facedeploy.compiler.kernels.blocked.layout import Blocked
from facedeploy.compiler.kernels.blocked.tiling import Tile, integer_rows
from facedeploy.compiler.target import Target


def amx_tile(sources: Sequence[Source], output: Blocked, window: Window) -> Tile:
    """What the model chooses: tiles of pixels times tiles of channels, and rows that share a pass over weights."""
    across, lanes = across_of(tiles_of(output)), lanes_of(output)
    down, pixels = min(DOWN[across], output.height), pixels_of(output.width)
    row_bytes = sum(source.layout.shape[3] * source.blocks * source.layout.block for source in sources)
    rows = max(down, integer_rows(output.height, row_bytes * window.stride[0]) // down * down)
    reason = (
        f"{down} rows of {pixels} pixels x {across} tiles of {lanes} channels, {chunk_of(sources, window)} B of each "
        f"pixel at a time; {rows} rows of {row_bytes} B share a pass over weights in L2"
    )
    return Tile(pixels, across, rows, reason)


@dataclass(frozen=True)
class Finish:
    """How sums in the scratch become pixels of the output `out`."""

    products: TileProducts
    output: Blocked
    epilogue: Epilogue
    out: Any
    residual: Any
    target: Target

    def pieces(
        self, scratch: Any, first: Any, places: Sequence[Place], tile: Any, across: int
    ) -> list[Callable[[], None]]:
        """Code for all sums of a call of `TileProducts.sum`, which has these places, a few pixels each."""
        starts = range(0, self.products.pixels, PACKED)

        def piece(m: int, index: int, pixel: int) -> None:
            n, y, x = places[m]
            count = min(PACKED, self.products.pixels - pixel)
            at = [[first + m * across + index, pixel + k, 0] for k in range(count)]
            sums = [load(scratch, indices, self.products.lanes, S32) for indices in at]
            self._store(sums, (n, y, x + pixel), tile + index)

        return [partial(piece, *which) for which in product(range(len(places)), range(across), starts)]

    def _store(self, sums: Sequence[Any], place: Place, tile: Any) -> None:
        """Neighboring pixels from `place` on, of a tile of channels."""
        (n, y, x), output, epilogue = place, self.output, self.epilogue
        (block, lane), lanes = self.products.place_of(tile), self.products.lanes
        requantization, slope = self.products.requantization, epilogue.slope_of(block)
        values = []
        for k, total in enumerate(sums):
            value = T.Bind(requantization.real(total, block, lane))
            at_pixel = (n, block, y, x + k)
            values.append(T.Bind(requantization.unrounded(value, epilogue, slope, self.residual, at_pixel, lane)))

        def at(k: int) -> list[Any]:
            return [n, block, y + output.halo, x + k + output.halo, lane]

        if epilogue.quantized:
            zero_point = T.Bind(requantization.step(Step.ZERO_POINT, block, lane))
            store_u8(self.out, values, zero_point, at, lanes, self.target)
            return
        for k, value in enumerate(values):
            store(self.out, value, at(k), lanes)


def run(pieces: Iterable[Callable[[], None]]) -> None:
    """Emit all of them."""
    for piece in pieces:
        piece()


def amx_convolution(
    name: str, sources: Sequence[Source], output: Blocked, window: Window, epilogue: Epilogue, target: Target
) -> tuple[Any, Tile]:
    """`name(sources..., weights, start, steps, [residual], output)`.

    Weights, start and steps as `TileProducts` says. All sources have the same size, and a halo of at least
    `window.halo`; blocks may differ. Returns the PrimFunc and its tile.
    """
    tile = amx_tile(sources, output, window)
    down, groups = min(DOWN[tile.blocks], output.height), -(-output.height // tile.rows)
    with kernel(name) as builder:
        inputs = [argument(f"source_{index}", source.layout.shape, U8) for index, source in enumerate(sources)]
        rows = tile_sources(sources, inputs)
        products = declare_tiles("", sources, window, output, tile.pixels, down, target)
        residual = argument("residual", epilogue.residual.shape, epilogue.residual_dtype) if epilogue.residual else None
        out = argument("out", output.shape, U8 if epilogue.quantized else F32)
        products.requantization.fill_halo(out, output, epilogue)
        finish = Finish(products, output, epilogue, out, residual, target)
        with share(output.batch * groups) as (start, count):
            products.configure(products.configuration())
            scratch = products.scratch(2)
            # Of the last sums: row, column, and where they are in the scratch.
            last = T.alloc_buffer((3,), S32, scope="local")
            with T.serial(0, count) as step:
                n, first = (start + step) // groups, (start + step) % groups * tile.rows
                end = T.Bind(tirx.Min(first + tile.rows, tirx.const(output.height, "int32")))

                def for_places(body: Callable[[Any, Any], None]) -> None:
                    def span(x: Any) -> None:
                        with T.serial(0, (end - first + down - 1) // down) as part:
                            body(row_of(part), x)

                    for_spans(output.width, tile.pixels, span)

                def row_of(part: Any) -> Any:
                    return T.Bind(tirx.Min(first + part * down, end - down))  # May do rows before them again.

                def places_of(y: Any, x: Any) -> list[Place]:
                    return [(n, y + m, x) for m in range(down)]

                def one_by_one(tile_out: Any, across: int) -> None:
                    def body(y: Any, x: Any) -> None:
                        products.sum(rows, places_of(y, x), tile_out, across, scratch)
                        run(finish.pieces(scratch, 0, places_of(y, x), tile_out, across))

                    for_places(body)

                def overlapping(tile_out: Any, across: int) -> None:
                    """Sums are finished while the next ones are made, in the other half of the scratch.

                    Before the first there are none: what is stored then is stored again.
                    """
                    half = down * across
                    remember(row_of(0), 0, half)

                    def finish_last() -> list[Callable[[], None]]:
                        y, x, at = (T.Bind(last[index]) for index in range(3))
                        return finish.pieces(scratch, at, places_of(y, x), tile_out, across)

                    def body(y: Any, x: Any) -> None:
                        at = T.Bind(half - last[2])
                        products.sum(rows, places_of(y, x), tile_out, across, scratch, at, finish_last())
                        remember(y, x, at)

                    for_places(body)
                    run(finish_last())

                def remember(*numbers: Any) -> None:
                    for index, number in enumerate(numbers):
                        T.buffer_store(last, number, [index])

                # A pointwise convolution waits for its pixels, and has few products to work beside.
                for_tiles(products.tiles, tile.blocks, one_by_one if window.kernel == (1, 1) else overlapping)
            products.release()
    return builder.get(), tile
