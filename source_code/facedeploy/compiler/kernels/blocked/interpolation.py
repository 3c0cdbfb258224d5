"""Bilinear resizing of blocked tensors, to any size."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.emit import (
    F32,
    argument,
    broadcast,
    for_tiles,
    kernel,
    load,
    row_of,
    share,
    store,
    zero_halo,
)
from facedeploy.compiler.kernels.blocked.layout import Array, Blocked, FloatArray

PIXELS = 4  # Of a row at a time.


@dataclass(frozen=True)
class Between:
    """One axis, (out,) each: output i is the mean of two pixels of the source, of which `above` has this share."""

    below: Array
    above: Array
    share: FloatArray


def between(places: Array, side: int) -> Between:
    """What lies at `places`, px, of an axis with so many pixels; beyond its ends it goes on as it is there."""
    inside = np.clip(places, 0, side - 1)
    below = np.floor(inside)
    above = np.minimum(below + 1, side - 1)
    return Between(below.astype(np.int32), above.astype(np.int32), (inside - below).astype(np.float32))


def interpolation(name: str, source: Blocked, output: Blocked) -> Any:
    """`name(source, rows below, above, share, columns below, above, share, output)`; a PrimFunc.

    Source and output have the same channels and block. Of rows and columns, the arrays of a `Between`.
    """
    lanes, halo = source.block, source.halo
    with kernel(name) as builder:
        data = argument("source", source.shape)
        rows, columns = (
            (
                argument(f"{axis}_below", (side,), "int32"),
                argument(f"{axis}_above", (side,), "int32"),
                argument(f"{axis}_share", (side,)),
            )
            for axis, side in (("rows", output.height), ("columns", output.width))
        )
        out = argument("out", output.shape)
        zero_halo(out, output)

        def mean(first: Any, second: Any, part: Any) -> Any:
            bound = T.Bind(first)
            return bound + (second - bound) * part

        with share(output.batch * output.blocks * output.height) as (start, count):
            # The mean of two rows, of which each pixel is then read by several of the output.
            between_rows = T.alloc_buffer((source.width, lanes), F32, scope="global")
            with T.serial(0, count) as step:
                part = start + step
                n, c, y = row_of(part, output)
                below, above = T.Bind(rows[0][y] + halo), T.Bind(rows[1][y] + halo)
                row_share = broadcast(rows[2][y], lanes)

                def blend(x: Any, pixels: int) -> None:
                    for pixel in range(pixels):
                        place = [x + pixel + halo, 0]
                        first, second = (load(data, [n, c, row, *place], lanes) for row in (below, above))
                        store(between_rows, mean(first, second, row_share), [x + pixel, 0], lanes)

                def put(x: Any, pixels: int) -> None:
                    for pixel in range(pixels):
                        first, second = (load(between_rows, [columns[end][x + pixel], 0], lanes) for end in (0, 1))
                        value = mean(first, second, broadcast(columns[2][x + pixel], lanes))
                        store(out, value, [n, c, y + output.halo, x + pixel + output.halo, 0], lanes)

                for_tiles(source.width, PIXELS, blend)
                for_tiles(output.width, PIXELS, put)
    return builder.get()
