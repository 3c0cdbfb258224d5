"""Arithmetic and activations of blocked tensors that no convolution took over."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.emit import (
    F32,
    activate,
    argument,
    fill_halo,
    for_tiles,
    kernel,
    load,
    row_of,
    splat,
    store,
    vector,
    zero_halo,
)
from facedeploy.compiler.kernels.blocked.heads import sigmoid
from facedeploy.compiler.kernels.blocked.integers import S32, U8, store_run_u8, to_u8
from facedeploy.compiler.kernels.blocked.layout import LANES, Blocked
from facedeploy.compiler.target import Target

PIXELS = 4  # Of a row at a time.

# Relax's name -> the operator on vectors: operands (constants of channels among them), numbers, lanes.
Function = Callable[[Sequence[Any], Sequence[float], int], Any]
FUNCTIONS: dict[str, Function] = {
    "relax.add": lambda v, _, __: v[0] + v[1],
    "relax.subtract": lambda v, _, __: v[0] - v[1],
    "relax.multiply": lambda v, _, __: v[0] * v[1],
    "relax.divide": lambda v, _, __: v[0] / v[1],
    "relax.negative": lambda v, _, lanes: v[0] * splat(-1.0, lanes),
    "relax.maximum": lambda v, _, __: tirx.Max(v[0], v[1]),
    "relax.minimum": lambda v, _, __: tirx.Min(v[0], v[1]),
    "relax.nn.relu": lambda v, _, lanes: activate(v[0], 0.0, lanes),
    "relax.nn.leakyrelu": lambda v, numbers, lanes: _leaky(v[0], splat(numbers[0], lanes), lanes),
    "relax.nn.prelu": lambda v, _, lanes: _leaky(v[0], v[1], lanes),
    "relax.clip": lambda v, numbers, lanes: tirx.Min(
        tirx.Max(v[0], splat(numbers[0], lanes)), splat(numbers[1], lanes)
    ),
    "relax.sigmoid": lambda v, _, lanes: sigmoid(v[0], lanes),
    "relax.image.resize2d": lambda v, _, __: v[0],
}
# Operators that keep zeros of all operands zero, whatever the numbers.
KEEP_ZEROS = {
    *["relax.add", "relax.subtract", "relax.multiply", "relax.maximum", "relax.minimum", "relax.image.resize2d"],
    *["relax.negative", "relax.nn.relu", "relax.nn.leakyrelu", "relax.nn.prelu"],
}

# How many operands, the first ones, must be divided by a positive number to have the result divided by it.
DIVIDED = {
    **dict.fromkeys(["relax.add", "relax.subtract", "relax.maximum", "relax.minimum"], 2),
    **dict.fromkeys(["relax.multiply", "relax.divide", "relax.negative", "relax.image.resize2d"], 1),
    **dict.fromkeys(["relax.nn.relu", "relax.nn.leakyrelu", "relax.nn.prelu"], 1),
}


def elementwise(
    name: str, operator: str, numbers: Sequence[float], sources: Sequence[Blocked], constants: int, output: Blocked
) -> Any:
    """`name(sources..., constants..., output)`; a PrimFunc. Constants are (blocks, block), a number a channel.

    A source has the channels of the output; each of its pixels covers as many pixels of the output as it is smaller.
    """
    lanes = output.block
    function = FUNCTIONS[operator]
    with kernel(name) as builder:
        inputs = [argument(f"source_{index}", source.shape) for index, source in enumerate(sources)]
        vectors = [argument(f"constant_{index}", (output.blocks, lanes)) for index in range(constants)]
        out = argument("out", output.shape)
        zero_halo(out, output)
        with T.parallel(0, output.batch * output.blocks * output.height) as part:
            n, c, y = row_of(part, output)
            fixed = [T.Bind(load(vector, [c, 0], lanes)) for vector in vectors]

            def tile(x: Any, count: int) -> None:
                for pixel in range(count):
                    values = [
                        T.Bind(load(data, [n, c, *_place(source, output, y, x + pixel), 0], lanes))
                        for source, data in zip(sources, inputs, strict=True)
                    ]
                    value = function([*values, *fixed], numbers, lanes)
                    if operator not in KEEP_ZEROS and output.channels % lanes:
                        value = _zero_unused(value, c, output)
                    store(out, value, [n, c, y + output.halo, x + pixel + output.halo, 0], lanes)

            for_tiles(output.width, PIXELS, tile)
    return builder.get()


def elementwise_integers(
    name: str,
    operator: str,
    numbers: Sequence[float],
    sources: Sequence[Blocked],
    constants: int,
    output: Blocked,
    target: Target,
) -> Any:
    """`elementwise` of u8: `name(sources..., affines..., constants..., steps, output)`; a PrimFunc.

    Each affine holds the scales and zero points of a source, float32 (2, blocks, block); `steps` those of the output,
    but one over its scales. Operands that `DIVIDED` counts, constants too, are given in steps of the output, so that
    halves of a step stay halves. Sources and output have the same block. Results are rounded to nearest, ties to even,
    and kept from 0 to 255; the halo holds the zero points.
    """
    lanes = min(LANES, output.block)
    parts = output.block // lanes  # Vectors of a pixel.
    function, layout = FUNCTIONS[operator], replace(output, block=lanes)
    with kernel(name) as builder:
        inputs = [argument(f"source_{index}", source.shape, U8) for index, source in enumerate(sources)]
        rows = (2, output.blocks, output.block)
        affines = [argument(f"affine_{index}", rows) for index in range(len(sources))]
        vectors = [argument(f"constant_{index}", rows[1:]) for index in range(constants)]
        steps = argument("steps", rows)
        out = argument("out", output.shape, U8)

        def stored_zero(block: Any) -> Any:
            return T.Bind(to_u8(splat(0.0, output.block), load(steps, [1, block, 0], output.block), output.block))

        fill_halo(out, output, stored_zero)
        with T.parallel(0, output.batch * output.blocks * output.height) as line:
            n, c, y = row_of(line, output)

            def of_parts(buffer: Any, *row: int) -> list[Any]:
                return [T.Bind(load(buffer, [*row, c, lanes * part], lanes)) for part in range(parts)]

            scales, zeros = ([of_parts(affine, row) for affine in affines] for row in range(2))
            per_step, zero_points = (of_parts(steps, row) for row in range(2))
            fixed = [of_parts(constant) for constant in vectors]

            def operand(index: int, x: Any, part: int) -> Any:
                at = [n, c, *_place(sources[index], output, y, x), lanes * part]
                integers = tirx.Cast(vector(lanes, S32), load(inputs[index], at, lanes, U8))
                return T.Bind((tirx.Cast(vector(lanes, F32), integers) - zeros[index][part]) * scales[index][part])

            def tile(x: Any, count: int) -> None:
                values = []
                for pixel, part in product(range(count), range(parts)):
                    operands = [operand(index, x + pixel, part) for index in range(len(sources))]
                    value = function([*operands, *(constant[part] for constant in fixed)], numbers, lanes)
                    if operator not in KEEP_ZEROS and output.channels % lanes:
                        value = _zero_unused(value, c * parts + part, layout)
                    values.append(T.Bind(value if operator in DIVIDED else value * per_step[part]))

                def at(index: int) -> list[Any]:
                    pixel, part = divmod(index, parts)
                    return [n, c, y + output.halo, x + pixel + output.halo, lanes * part]

                store_run_u8(out, values, zero_points * count, at, lanes, target)

            for_tiles(output.width, PIXELS // parts, tile)
    return builder.get()


def _place(source: Blocked, output: Blocked, y: Any, x: Any) -> tuple[Any, Any]:
    factor_h, factor_w = output.height // source.height, output.width // source.width
    return y // factor_h + source.halo, x // factor_w + source.halo


def _leaky(value: Any, slope: Any, lanes: int) -> Any:
    """Slope * x where x is negative, x elsewhere; for any slope."""
    zero = splat(0.0, lanes)
    bound = T.Bind(value)
    return tirx.Max(bound, zero) + slope * tirx.Min(bound, zero)


def _zero_unused(value: Any, block: Any, output: Blocked) -> Any:
    channel = T.ramp(block * output.block, 1, output.block)
    used = channel < tirx.Broadcast(tirx.const(output.channels, "int32"), output.block)
    return tirx.Select(used, value, splat(0.0, output.block))
