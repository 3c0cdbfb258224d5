"""3x3 convolution of stride 1 by Winograd's F(4x4, 3x3): 36 products where the direct way needs 144.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.direct import Source
from facedeploy.compiler.kernels.blocked.emit import (
    Epilogue,
    accumulators,
    add_products,
    argument,
    complete,
    for_tiles,
    kernel,
    load,
    share,
    splat,
    store,
    zero_halo,
)
from facedeploy.compiler.kernels.blocked.layout import Blocked, FloatArray
from facedeploy.compiler.kernels.blocked.tiling import L2_BYTES, Tile, choose_tile
from facedeploy.compiler.target import Target

OUT = 4  # Output pixels of a tile, a side.
IN = 6  # Input pixels of a tile, a side.
POINTS = IN * IN
# The transform of a kernel's rows and columns.
G = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)


def takes(output: Blocked) -> bool:
    """Whether the output divides into tiles."""
    return output.height % OUT == 0 and output.width % OUT == 0


def pack_winograd(weights: FloatArray, source_blocks: list[list[int]], block_in: int, block_out: int) -> FloatArray:
    """OIHW, 3x3 -> (36, out blocks, input channels, block_out); input blocks as in `pack_dense`."""
    outputs = weights.shape[0]
    blocks_out = -(-outputs // block_out)
    transformed = np.einsum("ak,oikl,bl->abio", G, weights.astype(np.float64), G)  # (6, 6, I, O)
    packed = np.zeros((POINTS, blocks_out * block_out, len(source_blocks) * block_in), np.float32)
    for index, channels in enumerate(source_blocks):
        start = index * block_in
        part = transformed[:, :, channels].reshape(POINTS, len(channels), outputs)
        packed[:, :outputs, start : start + len(channels)] = part.transpose(0, 2, 1)
    shaped = packed.reshape(POINTS, blocks_out, block_out, len(source_blocks) * block_in)
    return np.ascontiguousarray(shaped.transpose(0, 1, 3, 2))


def winograd_convolution(
    name: str, sources: Sequence[Source], output: Blocked, epilogue: Epilogue, target: Target
) -> tuple[Any, Tile]:
    """`name(sources..., weights, bias, [residual], output)`: padding 1, stride 1; weights by `pack_winograd`.

    Requires `takes(output)` and a halo of at least 1 in every source. Returns the PrimFunc and its tile, whose rows are
    rows of Winograd tiles.
    """
    lanes, inner = output.block, sources[0].layout.block
    source_blocks = sum(source.blocks for source in sources)
    tiles_h, tiles_w = output.height // OUT, output.width // OUT
    # A slab of tile rows whose transforms stay in L2 while all 36 products are done.
    tile_bytes = POINTS * tiles_w * (source_blocks * inner + output.blocks * lanes) * 4
    slab = _divisor_up_to(tiles_h, max(1, 2 * L2_BYTES // tile_bytes))
    while slab < tiles_h and slab * tiles_w < 12:  # Too few pixels to fill registers.
        slab = _divisor_up_to(tiles_h, tiles_h, above=slab)
    pixels = slab * tiles_w
    tile = choose_tile(target, width=pixels, blocks=output.blocks, lanes=lanes)
    tile = replace(tile, rows=slab, reason=f"{slab} of {tiles_h} rows of Winograd tiles at a time; {tile.reason}")
    with kernel(name) as builder:
        inputs = [argument(f"source_{index}", source.layout.shape) for index, source in enumerate(sources)]
        weights = argument("weights", (POINTS, output.blocks, source_blocks * inner, lanes))
        bias = argument("bias", (output.blocks, lanes))
        residual = argument("residual", epilogue.residual.shape) if epilogue.residual else None
        out = argument("out", output.shape)
        zero_halo(out, output)
        slabs = tiles_h // slab
        with share(output.batch * slabs) as (start, count), T.serial(0, count) as step:
            n, first = (start + step) // slabs, (start + step) % slabs * slab
            spectrum = T.alloc_buffer((POINTS, source_blocks, pixels, inner), "float32", scope="global")
            products = T.alloc_buffer((POINTS, output.blocks, pixels, lanes), "float32", scope="global")

            # 1. Transform the input tiles.
            before = 0
            for source, data in zip(sources, inputs, strict=True):
                edge = source.layout.halo - 1
                with T.serial(0, source.blocks) as c, T.serial(0, slab) as row, T.serial(0, tiles_w) as column:
                    columns = []
                    for j in range(IN):
                        place = [n, c + source.first]
                        pixel_column = [
                            T.Bind(
                                load(data, [*place, (first + row) * OUT + i + edge, column * OUT + j + edge, 0], inner)
                            )
                            for i in range(IN)
                        ]
                        columns.append(_transform_input(pixel_column, inner))
                    for i in range(IN):
                        for j, value in enumerate(_transform_input([columns[j][i] for j in range(IN)], inner)):
                            store(spectrum, value, [i * IN + j, c + before, row * tiles_w + column, 0], inner)
                before += source.blocks

            # 2. For each of the 36 points, a matrix product over the input channels.
            with T.serial(0, POINTS) as point:

                def product(block: Any, blocks: int, point: Any = point) -> None:
                    def product_tile(pixel: Any, count: int) -> None:
                        sums = accumulators(blocks, count, lanes, lambda _: splat(0.0, lanes))
                        add_products(
                            sums,
                            count,
                            blocks_in=source_blocks,
                            inner=inner,
                            lanes=lanes,
                            weight=lambda index, c, channel: load(
                                weights, [point, block + index, c * inner + channel, 0], lanes
                            ),
                            value=lambda offset, c, channel: spectrum[point, c, pixel + offset, channel],
                        )
                        for index, total in enumerate(sums):
                            for offset in range(count):
                                value = load(total, [offset, 0], lanes)
                                store(products, value, [point, block + index, pixel + offset, 0], lanes)

                    for_tiles(pixels, tile.pixels, product_tile)

                for_tiles(output.blocks, tile.blocks, product)

            # 3. Transform back, and finish.
            def finish(block: Any, slope: float) -> None:
                with T.serial(0, slab) as row, T.serial(0, tiles_w) as column:
                    offset = T.Bind(load(bias, [block, 0], lanes))
                    pixel = row * tiles_w + column
                    columns = [
                        _transform_output(
                            [T.Bind(load(products, [i * IN + j, block, pixel, 0], lanes)) for i in range(IN)], lanes
                        )
                        for j in range(IN)
                    ]
                    for i in range(OUT):
                        y = (first + row) * OUT + i
                        for j, value in enumerate(_transform_output([columns[j][i] for j in range(IN)], lanes)):
                            x = column * OUT + j
                            place = (n, block, y, x)
                            result = complete(value + offset, epilogue, slope, residual, place, lanes)
                            store(out, result, [n, block, y + output.halo, x + output.halo, 0], lanes)

            if epilogue.uniform(range(output.blocks)):
                with T.serial(0, output.blocks) as block:
                    finish(block, epilogue.slope_of(0))
            else:
                for index in range(output.blocks):
                    finish(index, epilogue.slope_of(index))
    return builder.get(), tile


def _transform_input(d: Sequence[Any], lanes: int) -> list[Any]:
    """One axis of the 6x6 input transform, sums shared."""
    four, five, two = (splat(value, lanes) for value in (4.0, 5.0, 2.0))
    even = T.Bind(d[4] - four * d[2])
    odd = T.Bind(d[3] - four * d[1])
    outer = T.Bind(d[4] - d[2])
    inner = T.Bind(two * (d[3] - d[1]))
    return [
        T.Bind(four * d[0] + (d[4] - five * d[2])),
        T.Bind(even + odd),
        T.Bind(even - odd),
        T.Bind(outer + inner),
        T.Bind(outer - inner),
        T.Bind(four * d[1] + (d[5] - five * d[3])),
    ]


def _transform_output(m: Sequence[Any], lanes: int) -> list[Any]:
    """One axis of the 6 -> 4 output transform, sums shared."""
    two, four, eight = (splat(value, lanes) for value in (2.0, 4.0, 8.0))
    near_sum, near_difference = T.Bind(m[1] + m[2]), T.Bind(m[1] - m[2])
    far_sum, far_difference = T.Bind(m[3] + m[4]), T.Bind(m[3] - m[4])
    return [
        T.Bind(m[0] + near_sum + far_sum),
        T.Bind(near_difference + two * far_difference),
        T.Bind(near_sum + four * far_sum),
        T.Bind(near_difference + eight * far_difference + m[5]),
    ]


def _divisor_up_to(number: int, limit: int, above: int = 0) -> int:
    """The largest divisor of `number` up to `limit`; with `above`, the smallest beyond that."""
    divisors = [candidate for candidate in range(1, number + 1) if number % candidate == 0]
    if above:
        return next(candidate for candidate in divisors if candidate > above)
    return max(candidate for candidate in divisors if candidate <= limit)
