"""Depthwise convolution of u8."""

from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.direct import Window
from facedeploy.compiler.kernels.blocked.emit import (
    F32,
    Epilogue,
    argument,
    for_tiles,
    kernel,
    load,
    store,
    vector,
)
from facedeploy.compiler.kernels.blocked.integers import S8, S32, U8, Requantization, Step
from facedeploy.compiler.kernels.blocked.layout import Blocked
from facedeploy.compiler.kernels.blocked.rows import Rows
from facedeploy.compiler.kernels.blocked.tiling import Tile
from facedeploy.compiler.target import Target

PIXELS = 4  # Of a row at a time.


def integer_depthwise(
    name: str, source: Blocked, output: Blocked, window: Window, epilogue: Epilogue, target: Target
) -> tuple[Any, Tile]:
    """`name(source, weights, start, steps, output)`; weights as `pack_depthwise` makes them.

    `start` and `steps` are those of `Requantization`. One filter a channel; source and output have the same channels
    and block. Returns the PrimFunc and its tile.
    """
    lanes = source.block
    with kernel(name) as builder:
        data = Rows(argument("source", source.shape, U8), source)
        weights = argument("weights", (source.blocks, *window.kernel, lanes), S8)
        start = argument("start", (source.blocks, lanes), S32)
        steps = argument("steps", (len(Step), source.blocks, lanes))
        requantization = Requantization(start, steps, lanes, target)
        out = argument("out", output.shape, U8 if epilogue.quantized else F32)
        rows_out = Rows(out, output)
        requantization.fill_halo(out, output, epilogue)
        taps = [(i, j) for i in range(window.kernel[0]) for j in range(window.kernel[1])]

        def pixels_of(n: Any, c: Any, y: Any, x: Any, pixels: int, filters: list[Any]) -> None:
            for pixel in range(pixels):
                total = load(start, [c, 0], lanes, S32)
                for (i, j), weight in zip(taps, filters, strict=True):
                    row = y * window.stride[0] + i * window.dilation[0] - window.padding[0]
                    column = (x + pixel) * window.stride[1] + j * window.dilation[1] - window.padding[1]
                    value = load(data.buffer, [*data.at(n, c, row, column), 0], lanes, U8)
                    total = T.Bind(total + tirx.Cast(vector(lanes, S32), value) * weight)
                real = T.Bind(requantization.real(total, c))
                value = requantization.complete(real, epilogue, epilogue.slope_of(c), None, (n, c, y, x + pixel))
                store(out, value, [*rows_out.at(n, c, y, x + pixel), 0], lanes)

        with T.parallel(0, output.batch * source.blocks) as part:
            n, c = part // source.blocks, part % source.blocks
            filters = [T.Bind(tirx.Cast(vector(lanes, S32), load(weights, [c, i, j, 0], lanes, S8))) for i, j in taps]
            with T.serial(0, output.height) as y:
                for_tiles(output.width, PIXELS, lambda x, pixels: pixels_of(n, c, y, x, pixels, filters))
    return builder.get(), Tile(PIXELS, 1, 1, f"{PIXELS} pixels of a row")
