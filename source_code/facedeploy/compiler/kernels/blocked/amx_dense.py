"""Dense convolution of u8 in AMX's tiles: any kernel, stride, dilation and padding; several sources."""

from collections.abc import Sequence
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.amx import (
    DOWN,
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


def amx_convolution(
    name: str, sources: Sequence[Source], output: Blocked, window: Window, epilogue: Epilogue, target: Target
) -> tuple[Any, Tile]:
    """`name(sources..., weights, start, steps, [residual], output)`.

    Weights, start and steps as `TileProducts` says. All sources have the same size, and a halo of at least
    `window.halo`; blocks may differ. Returns the PrimFunc and its tile.
    """
    tile = amx_tile(sources, output, window)
    down, lanes = min(DOWN[tile.blocks], output.height), lanes_of(output)
    groups = -(-output.height // tile.rows)
    with kernel(name) as builder:
        inputs = [argument(f"source_{index}", source.layout.shape, U8) for index, source in enumerate(sources)]
        rows = tile_sources(sources, inputs)
        products = declare_tiles("", sources, window, output, tile.pixels, down, target)
        residual = argument("residual", epilogue.residual.shape, epilogue.residual_dtype) if epilogue.residual else None
        out = argument("out", output.shape, U8 if epilogue.quantized else F32)
        requantization = products.requantization
        requantization.fill_halo(out, output, epilogue)

        def finish(scratch: Any, register: int, n: Any, y: Any, x: Any, tile_out: Any) -> None:
            """What one tile of sums becomes, a few pixels at a time."""
            block, lane = products.place_of(tile_out)
            slope = epilogue.slope_of(block)
            zero_point = T.Bind(requantization.step(Step.ZERO_POINT, block, lane))
            for first in range(0, tile.pixels, PACKED):
                values = []
                for pixel in range(first, min(first + PACKED, tile.pixels)):
                    total = load(scratch, [register, pixel, 0], lanes, S32)
                    value = T.Bind(requantization.real(total, block, lane))
                    place = (n, block, y, x + pixel)
                    values.append(T.Bind(requantization.unrounded(value, epilogue, slope, residual, place, lane)))

                def at(k: int, first: int = first) -> list[Any]:
                    return [n, block, y + output.halo, x + first + k + output.halo, lane]

                if epilogue.quantized:
                    store_u8(out, values, zero_point, at, lanes, target)
                    continue
                for k, value in enumerate(values):
                    store(out, value, at(k), lanes)

        with share(output.batch * groups) as (start, count):
            products.configure(products.configuration())
            scratch = products.scratch()
            with T.serial(0, count) as step:
                n, first = (start + step) // groups, (start + step) % groups * tile.rows
                end = T.Bind(tirx.Min(first + tile.rows, tirx.const(output.height, "int32")))

                def channels_of(tile_out: Any, across: int) -> None:
                    def span(x: Any) -> None:
                        with T.serial(0, (end - first + down - 1) // down) as part:
                            y = T.Bind(tirx.Min(first + part * down, end - down))  # May do rows before them again.
                            places = [(n, y + m, x) for m in range(down)]
                            products.sum(rows, places, tile_out, across, scratch)
                            for m in range(down):
                                for index in range(across):
                                    finish(scratch, m * across + index, n, y + m, x, tile_out + index)

                    for_spans(output.width, tile.pixels, span)

                for_tiles(products.tiles, tile.blocks, channels_of)
            products.release()
    return builder.get(), tile
