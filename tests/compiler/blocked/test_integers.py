"""Kernels between integers equal numpy's integers to the bit, on every level this machine has."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tvm
from arithmetic import NUMBERS, ORACLES
from hypothesis import given, settings
from hypothesis import strategies as st
from runner import channel_blocks, run, targets

from facedeploy.compiler.kernels.blocked.amx import channel_chunks, integer_block
from facedeploy.compiler.kernels.blocked.amx_dense import amx_convolution
from facedeploy.compiler.kernels.blocked.direct import Source, Window, direct_convolution
from facedeploy.compiler.kernels.blocked.elementwise import DIVIDED, FUNCTIONS, elementwise_integers
from facedeploy.compiler.kernels.blocked.emit import Epilogue
from facedeploy.compiler.kernels.blocked.heads import Level, Output, heads_convolution
from facedeploy.compiler.kernels.blocked.integer_cascade import PairSpec, in_tiles, integer_cascade
from facedeploy.compiler.kernels.blocked.integer_depthwise import integer_depthwise
from facedeploy.compiler.kernels.blocked.integers import IntegerArithmetic, Step, has_amx, pack_integers
from facedeploy.compiler.kernels.blocked.layout import Blocked, block_of, from_blocked, pack_depthwise, to_blocked
from facedeploy.compiler.kernels.blocked.quantization import dequantize, quantize
from facedeploy.compiler.target import DOT_PRODUCTS, Target, host_features, resolve_target

Array = npt.NDArray[Any]
HAS = host_features()
WITH_DOT_PRODUCTS = [
    resolve_target(f"{level}+{feature}") for level, features in DOT_PRODUCTS.items() for feature in features
]
LEVELS = [
    *(pytest.param(target, id=target.name) for target in targets()),
    *(
        pytest.param(
            target,
            id=target.name,
            marks=pytest.mark.skipif(
                not all(HAS.get(feature, False) for feature in target.features), reason=f"this CPU lacks {target.name}"
            ),
        )
        for target in WITH_DOT_PRODUCTS
    ),
]
level = pytest.mark.parametrize("target", LEVELS)


def sums_of(x: Array, zero_points: Array, weights: Array, window: Window, depthwise: bool = False) -> Array:
    """The sums of (x - zero point) * weight, int64 (N, O, H, W), where what lies outside is the zero point."""
    top, left = window.padding
    centered = x.astype(np.int64) - zero_points.reshape(1, -1, 1, 1)
    padded = np.pad(centered, ((0, 0), (0, 0), (top, top), (left, left)))
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(window.kernel, window.dilation, strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(padded, reach, (2, 3))
    views = views[:, :, :: window.stride[0], :: window.stride[1], :: window.dilation[0], :: window.dilation[1]]
    if depthwise:
        return np.einsum("nchwij,cij->nchw", views, weights[:, 0].astype(np.int64))
    return np.einsum("nchwij,ocij->nohw", views, weights.astype(np.int64))


def multiply_add(value: Array, factor: Array, addend: Array, target: Target) -> Array:
    """In float32, rounded as the target does."""
    factor, addend = (row.astype(np.float32).reshape(1, -1, 1, 1) for row in (factor, addend))
    if "fma" in target.features:
        return (value.astype(np.float64) * factor.astype(np.float64) + addend).astype(np.float32)
    return value * factor + addend


def finished(
    sums: Array, steps: Array, target: Target, slope: float, residual: Array | None = None, slope_after: float = 1.0
) -> Array:
    """float32 outputs in steps of their integers."""
    real = multiply_add(sums.astype(np.float32), steps[Step.SCALE], steps[Step.BIAS], target)
    real = activated(real, slope)
    if residual is None:
        return real
    added = multiply_add(residual.astype(np.float32), steps[Step.RESIDUAL_SCALE], steps[Step.RESIDUAL_BIAS], target)
    return activated(real + added, slope_after)


def activated(x: Array, slope: float) -> Array:
    return np.maximum(x, x * np.float32(slope)) if slope < 1 else x


def blocks(numbers: Array, lanes: int) -> Array:
    """(..., C) -> (..., blocks, lanes)."""
    padding = -numbers.shape[-1] % lanes
    return np.pad(numbers, [(0, 0)] * (numbers.ndim - 1) + [(0, padding)]).reshape(*numbers.shape[:-1], -1, lanes)


def blocked(array: Array, layout: Blocked, zero_points: Array) -> Array:
    """The buffer of `layout`, whose halo holds the zero points."""
    centered = array.astype(np.int32) - zero_points.astype(np.int32).reshape(1, -1, 1, 1)
    buffer = to_blocked(centered, layout)
    return (buffer + blocks(zero_points.astype(np.int32), layout.block)[None, :, None, None]).astype(np.uint8)


def stored(real: Array, steps: Array, output: Blocked) -> Array:
    """The integers of float32 outputs."""
    zero_points = steps[Step.ZERO_POINT]
    integers = np.clip(np.rint(real) + zero_points.reshape(1, -1, 1, 1), 0, 255).astype(np.uint8)
    return blocked(integers, output, zero_points)


def random_steps(rng: np.random.Generator, outputs: int, sums: Array) -> Array:
    """Scales that spread the sums over the integers and somewhat beyond."""
    steps = np.zeros((len(Step), outputs), np.float32)
    largest = np.abs(sums).max(axis=(0, 2, 3)) + 1.0
    steps[Step.SCALE] = rng.uniform(100, 200, outputs) / largest
    steps[Step.BIAS] = rng.uniform(-20, 20, outputs)
    steps[Step.ZERO_POINT] = rng.integers(0, 256, outputs)
    steps[Step.RESIDUAL_SCALE] = rng.uniform(0.3, 1.5, outputs)
    steps[Step.RESIDUAL_BIAS] = -steps[Step.RESIDUAL_SCALE] * rng.integers(0, 256, outputs)
    return steps


def starts(weights: Array, zero_points: Array) -> Array:
    return -np.einsum("ocij,c->o", weights.astype(np.int64), zero_points.astype(np.int64))


def block_for(channels: int, target: Target) -> int:
    """The block of a tensor of integers."""
    return (integer_block if has_amx(target) else block_of)(channels)


def packed(weights: Array, sources: list[Source], block: int, target: Target, in_tiles: bool) -> Array:
    """The weights of a dense convolution whose output has this block."""
    inner = min(source.layout.block for source in sources)
    if in_tiles:
        return pack_integers(weights, channel_chunks(sources), inner, min(16, block), target)
    return pack_integers(weights, channel_blocks(sources), inner, block, target)


def build_dense(
    sources: list[Source], output: Blocked, window: Window, epilogue: Epilogue, target: Target
) -> tuple[Any, Any]:
    if has_amx(target):
        return amx_convolution("amx", sources, output, window, epilogue, target)
    arithmetic = IntegerArithmetic(target)
    return direct_convolution("direct", sources, output, window, epilogue, target, arithmetic=arithmetic)


def draw_window(draw: Any) -> Window:
    return Window(
        (draw(st.integers(1, 4)), draw(st.integers(1, 4))),
        (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        (draw(st.integers(0, 2)), draw(st.integers(0, 2))),
        (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
    )


@level
@given(data=st.data())
@settings(max_examples=4, deadline=None)
def test_dense_convolution_equals_numpy(target: Target, data: st.DataObject) -> None:
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    window, slope = draw_window(draw), draw(st.sampled_from([0.0, 0.1, 1.0]))
    batch, inputs, outputs = draw(st.integers(1, 2)), draw(st.integers(1, 150)), draw(st.integers(1, 70))
    hw = draw(st.integers(9, 13)), draw(st.integers(9, 37))
    quantized = draw(st.booleans())
    x = rng.integers(0, 256, (batch, inputs, *hw), np.uint8)
    zero_points = rng.integers(0, 256, inputs)
    weights = rng.integers(-128, 128, (outputs, inputs, *window.kernel), np.int8)
    sums = sums_of(x, zero_points, weights, window)
    steps = random_steps(rng, outputs, sums)
    output_hw = sums.shape[2:]
    halo = window.halo(hw, output_hw) + draw(st.integers(0, 1))
    layout = Blocked(batch, inputs, *hw, block_for(inputs, target), halo)
    source = Source(layout, 0, layout.blocks)
    block = block_for(outputs, target) if quantized else block_of(outputs)
    output = Blocked(batch, outputs, *output_hw, block, draw(st.integers(0, 2)))
    epilogue = Epilogue(slope, quantized=quantized)
    function, _ = build_dense([source], output, window, epilogue, target)
    arguments = [
        blocked(x, layout, zero_points),
        packed(weights, [source], output.block, target, has_amx(target)),
        blocks(starts(weights, zero_points), output.block).astype(np.int32),
        blocks(steps, output.block),
    ]
    (got,) = run(function, target, arguments, [output.shape], "uint8" if quantized else "float32")
    real = finished(sums, steps, target, slope)
    assert np.array_equal(got, stored(real, steps, output) if quantized else to_blocked(real, output))


@level
@pytest.mark.parametrize("upsample", [1, 2])
@pytest.mark.parametrize("residual_dtype", ["uint8", "float32"])
def test_convolution_of_parts_with_residual_equals_numpy(target: Target, upsample: int, residual_dtype: str) -> None:
    rng = np.random.default_rng(0)
    window, hw = Window((3, 3), padding=(1, 1)), (8, 12)
    first, second = rng.integers(0, 256, (2, 48, *hw), np.uint8), rng.integers(0, 256, (2, 16, *hw), np.uint8)
    zero_first, zero_second = rng.integers(0, 256, 48), rng.integers(0, 256, 16)
    x, zero_points = np.concatenate([first[:, 16:], second], axis=1), np.concatenate([zero_first[16:], zero_second])
    weights = rng.integers(-128, 128, (40, 48, 3, 3), np.int8)
    sums = sums_of(x, zero_points, weights, window)
    steps = random_steps(rng, 40, sums)
    small = rng.integers(0, 256, (2, 40, hw[0] // upsample, hw[1] // upsample), np.uint8)
    large = small.repeat(upsample, 2).repeat(upsample, 3)
    layouts = [Blocked(2, 48, *hw, 16, 1), Blocked(2, 16, *hw, 16, 2)]
    sources = [Source(layouts[0], 1, 2), Source(layouts[1], 0, 1)]
    output, residual = Blocked(2, 40, *hw, 16, 1), Blocked(2, 40, *small.shape[2:], 16, 1)
    epilogue = Epilogue(0.1, residual, upsample, 0.25, residual_dtype, quantized=True)
    function, _ = build_dense(sources, output, window, epilogue, target)
    arguments = [
        blocked(first, layouts[0], zero_first),
        blocked(second, layouts[1], zero_second),
        packed(weights, sources, 16, target, has_amx(target)),
        blocks(starts(weights, zero_points), 16).astype(np.int32),
        blocks(steps, 16),
        to_blocked(small, residual).astype(residual_dtype),
    ]
    (got,) = run(function, target, arguments, [output.shape], "uint8")
    real = finished(sums, steps, target, 0.1, large, 0.25)
    assert np.array_equal(got, stored(real, steps, output))


@level
@given(data=st.data())
@settings(max_examples=4, deadline=None)
def test_depthwise_convolution_equals_numpy(target: Target, data: st.DataObject) -> None:
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    window = draw(st.one_of(st.just(Window((3, 3), padding=(1, 1))), st.just(Window((3, 3), (2, 2), (1, 1)))))
    window = draw(st.sampled_from([window, draw_window(draw)]))
    batch, channels = draw(st.integers(1, 2)), draw(st.integers(1, 37))
    hw = draw(st.integers(8, 13)), draw(st.integers(8, 21))
    quantized = draw(st.booleans())
    x = rng.integers(0, 256, (batch, channels, *hw), np.uint8)
    zero_points = rng.integers(0, 256, channels)
    weights = rng.integers(-128, 128, (channels, 1, *window.kernel), np.int8)
    sums = sums_of(x, zero_points, weights, window, depthwise=True)
    steps = random_steps(rng, channels, sums)
    layout = Blocked(batch, channels, *hw, block_of(channels), window.halo(hw, sums.shape[2:]))
    output = Blocked(batch, channels, *sums.shape[2:], layout.block, draw(st.integers(0, 2)))
    function, _ = integer_depthwise("depthwise", layout, output, window, Epilogue(0.1, quantized=quantized), target)
    start = -weights[:, 0].astype(np.int64).sum(axis=(1, 2)) * zero_points
    arguments = [
        blocked(x, layout, zero_points),
        pack_depthwise(weights, layout.block),
        blocks(start, layout.block).astype(np.int32),
        blocks(steps, layout.block),
    ]
    (got,) = run(function, target, arguments, [output.shape], "uint8" if quantized else "float32")
    real = finished(sums, steps, target, 0.1)
    assert np.array_equal(got, stored(real, steps, output) if quantized else to_blocked(real, output))


@level
def test_heads_equal_numpy(target: Target) -> None:
    rng = np.random.default_rng(1)
    outputs = [Output(8, 4), Output(4, 2, softmax=True), Output(20, 10)]
    levels, arguments, expected = [], [], []
    for hw in ((5, 7), (2, 3)):
        x = rng.integers(0, 256, (2, 32, *hw), np.uint8)
        zero_points = rng.integers(0, 256, 32)
        weights = rng.integers(-128, 128, (32, 32, 1, 1), np.int8)
        sums = sums_of(x, zero_points, weights, Window((1, 1)))
        steps = random_steps(rng, 32, sums) / np.float32(50)
        layout = Blocked(2, 32, *hw, 16)
        levels.append(Level((Source(layout, 0, 2),)))
        arguments += [
            blocked(x, layout, zero_points),
            packed(weights, list(levels[-1].sources), 16, target, has_amx(target)),
            blocks(starts(weights, zero_points), 16).astype(np.int32),
            blocks(steps, 16),
        ]
        expected.append(finished(sums, steps, target, 1.0).transpose(0, 2, 3, 1).reshape(2, -1, 32))
    rows = np.concatenate(expected, axis=1)
    parts = np.split(rows, [8, 12], axis=2)
    wanted = [part.reshape(2, -1, output.width) for part, output in zip(parts, outputs, strict=True)]
    function, _ = heads_convolution("heads", levels, outputs, target, IntegerArithmetic(target))
    got = run(function, target, arguments, [part.shape for part in wanted])
    exponentials = np.exp(wanted[1].astype(np.float64))
    np.testing.assert_allclose(got[1], exponentials / exponentials.sum(axis=2, keepdims=True), rtol=1e-5, atol=1e-7)
    assert np.array_equal(got[0], wanted[0])
    assert np.array_equal(got[2], wanted[2])


@level
@given(data=st.data())
@settings(max_examples=4, deadline=None)
def test_quantization_equals_numpy_and_back(target: Target, data: st.DataObject) -> None:
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    channels, width = draw(st.sampled_from([1, 3, 4, 7, 16, 21])), draw(st.integers(1, 37))
    x = (rng.standard_normal((2, channels, 5, width)) * 30).astype(np.float32)
    scale = rng.uniform(0.1, 0.4, channels).astype(np.float32)
    zero_points = rng.integers(0, 256, channels).astype(np.uint8)
    layout = Blocked(2, channels, 5, width, block_of(channels), draw(st.integers(0, 2)))
    by_channel = (1, -1, 1, 1)
    integers = np.rint(x / scale.reshape(by_channel)) + zero_points.reshape(by_channel)
    integers = np.clip(integers, 0, 255).astype(np.uint8)
    expected = blocked(integers, layout, zero_points)
    parameters = [scale, blocks(zero_points, layout.block)]
    (got,) = run(quantize("quantize", layout, target), target, [x, *parameters], [layout.shape], "uint8")
    assert np.array_equal(got, expected)
    (back,) = run(dequantize("dequantize", layout), target, [expected, *parameters], [x.shape])
    centered = integers.astype(np.int32) - zero_points.astype(np.int32).reshape(by_channel)
    assert np.array_equal(back, centered.astype(np.float32) * scale.reshape(by_channel))


@level
@pytest.mark.parametrize("operator", FUNCTIONS)
@given(data=st.data())
@settings(max_examples=2, deadline=None)
def test_arithmetic_of_integers_equals_numpy(target: Target, operator: str, data: st.DataObject) -> None:
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    batch, channels = draw(st.integers(1, 2)), draw(st.sampled_from([3, 7, 16, 21, 48, 64, 130]))
    hw, by_channel = (draw(st.integers(1, 3)) * 2, draw(st.integers(1, 7)) * 2), (1, -1, 1, 1)
    count, oracle = ORACLES[operator]
    constants = [rng.uniform(0.5, 2, channels)] if operator == "relax.nn.prelu" else []
    if count == 2 and not constants and draw(st.booleans()):
        constants = [rng.uniform(0.5, 2, channels)]
    sides = [hw, (hw[0] // 2, hw[1])] if operator != "relax.image.resize2d" else [(hw[0], hw[1] // 2)]
    block = block_for(channels, target)
    layouts, integers, affines, floats = [], [], [], []
    for side in sides[: count - len(constants)]:
        scale, zero_points = rng.uniform(0.01, 0.03, channels).astype(np.float32), rng.integers(0, 256, channels)
        x = rng.integers(0, 256, (batch, channels, *side), np.uint8)
        x += operator == "relax.divide" and x == zero_points.reshape(by_channel)  # Nothing is divided by 0.
        layouts.append(Blocked(batch, channels, *side, block, draw(st.integers(0, 1))))
        integers.append(blocked(x, layouts[-1], zero_points))
        affines.append((scale, zero_points))
        real = (x - zero_points.reshape(by_channel)) * scale.astype(np.float64).reshape(by_channel)
        floats.append(real.repeat(hw[0] // side[0], 2).repeat(hw[1] // side[1], 3))
    result = oracle(*floats, *(constant.reshape(by_channel) for constant in constants))
    output = Blocked(batch, channels, *hw, block, draw(st.integers(0, 2)))
    scale = (np.quantile(np.abs(result), 0.9) / rng.uniform(80, 120, channels)).astype(np.float32)
    zero_points = rng.integers(0, 256, channels)
    function = elementwise_integers(
        "arithmetic", operator, NUMBERS.get(operator, ()), layouts, len(constants), output, target
    )
    units = [scale if index < DIVIDED.get(operator, 0) else 1.0 for index in range(count)]
    rows = [np.stack([step / unit, zeros]) for (step, zeros), unit in zip(affines, units, strict=False)]
    rows += [constant / units[-1] for constant in constants]
    rows.append(np.stack([1 / scale, zero_points]))
    arguments = [*integers, *(blocks(row, block).astype(np.float32) for row in rows)]
    (got,) = run(function, target, arguments, [output.shape], "uint8")
    values = from_blocked(got, output)
    real = result / scale.reshape(by_channel) + zero_points.reshape(by_channel)
    assert np.abs(values - np.clip(real, 0, 255)).max() <= 0.501
    assert np.array_equal(blocked(values, output, zero_points), got)


def depthwise_floats(x: Array, weights: Array, bias: Array, window: Window, target: Target) -> Array:
    """Tap by tap, rounded as the target does."""
    top, left = window.padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))
    height, width = ((padded.shape[axis] - window.kernel[axis - 2]) // window.stride[axis - 2] + 1 for axis in (2, 3))
    total = np.broadcast_to(bias.reshape(1, -1, 1, 1), (*x.shape[:2], height, width)).astype(np.float32)
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            rows = slice(i, i + (height - 1) * window.stride[0] + 1, window.stride[0])
            columns = slice(j, j + (width - 1) * window.stride[1] + 1, window.stride[1])
            tap, weight = padded[:, :, rows, columns], weights[:, 0, i, j].reshape(1, -1, 1, 1)
            if "fma" in target.features:
                product = tap.astype(np.float64) * weight.astype(np.float64)
                total = (total.astype(np.float64) + product).astype(np.float32)
            else:
                total = total + tap * weight
    return total


@level
@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize(
    ("channels", "hw", "stride"), [((3, 8, 24), (17, 22), 2), ((20, 33, 16), (9, 13), 1), ((64, 80, 48), (9, 40), 1)]
)
def test_cascade_of_dense_and_depthwise_layers_equals_numpy(
    target: Target, quantized: bool, channels: tuple[int, int, int], hw: tuple[int, int], stride: int
) -> None:
    rng = np.random.default_rng(3)
    windows = [Window((3, 3), (stride, stride), (1, 1)), Window((1, 1))]
    depthwise = [Window((3, 3), padding=(1, 1)), Window((3, 3), (2, 2), (1, 1))]
    x = rng.integers(0, 256, (2, channels[0], *hw), np.uint8)
    zero_points = rng.integers(0, 256, channels[0])
    source = Blocked(2, channels[0], *hw, block_for(channels[0], target), 1)
    arguments, specs, layout = [blocked(x, source, zero_points)], [], source
    for index, (window, behind, outputs) in enumerate(zip(windows, depthwise, channels[1:], strict=True)):
        last = index == 1
        weights = rng.integers(-128, 128, (outputs, layout.channels, *window.kernel), np.int8)
        sums = sums_of(x, zero_points, weights, window)
        steps = random_steps(rng, outputs, sums)
        floats = finished(sums, steps, target, 0.1)
        filters = rng.normal(0, 0.4, (outputs, 1, 3, 3)).astype(np.float32)
        bias = rng.normal(0, 20, outputs).astype(np.float32)
        made = activated(depthwise_floats(floats, filters, bias, behind, target), 0.0 if last else 0.1)
        middle = Blocked(2, outputs, *floats.shape[2:], block_of(outputs), 1)
        block = block_for(outputs, target) if quantized or not last else block_of(outputs)
        output = Blocked(2, outputs, *made.shape[2:], block, 2 if last else 0)
        specs.append(PairSpec(window, 0.1, middle, behind, 0.0 if last else 0.1, output, quantized or not last))
        dense = Source(layout, 0, layout.blocks)
        arguments += [
            packed(weights, [dense], middle.block, target, in_tiles(specs[-1], layout, target)),
            blocks(starts(weights, zero_points), middle.block).astype(np.int32),
            blocks(steps, middle.block),
            pack_depthwise(filters, middle.block),
            blocks(bias, middle.block),
            blocks(steps[Step.ZERO_POINT], output.block),
        ]
        layout, zero_points = output, steps[Step.ZERO_POINT].astype(np.int64)
        x = np.clip(np.rint(made) + zero_points.reshape(1, -1, 1, 1), 0, 255).astype(np.uint8)
    function, _ = integer_cascade("cascade", source, specs, target)
    (got,) = run(function, target, arguments, [layout.shape], "uint8" if quantized else "float32")
    assert np.array_equal(got, stored(made, steps, layout) if quantized else to_blocked(made, layout))


@pytest.mark.parametrize("target", WITH_DOT_PRODUCTS, ids=[target.name for target in WITH_DOT_PRODUCTS])
@pytest.mark.parametrize("outputs", [4, 8, 32])
def test_dot_products_are_one_instruction(target: Target, outputs: int) -> None:
    """Whether or not this CPU has it: of what order its operands are, a CPU that has it tells above."""
    source, output = Blocked(1, 16, 4, 4, 16), Blocked(1, outputs, 4, 4, block_of(outputs))
    arithmetic = IntegerArithmetic(target)
    whole = [Source(source, 0, 1)]
    function, _ = direct_convolution("f", whole, output, Window((1, 1)), Epilogue(), target, arithmetic=arithmetic)
    module = tvm.IRModule({"f": function.with_attr("global_symbol", "f")})
    assembly = tvm.compile(module, target=target.tvm_target).mod.inspect_source("asm")
    register = {16: "z", 8: "y", 4: "x"}[min(output.block, target.float32_lanes)]
    assert re.search(rf"vpdpbusd\s.*%{register}mm\d", assembly)
    assert "pmaddwd" not in assembly
