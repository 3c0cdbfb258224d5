"""Scheduled convolutions compute what TVM's own lowering of them computes, and none is left unscheduled."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import tvm
from differential import run_executable
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax

from facedeploy.compiler.assemble import Network, assemble
from facedeploy.compiler.kernels.convolution import schedule_convolution
from facedeploy.compiler.passes.schedule_kernels import schedule_kernels
from facedeploy.compiler.pipeline import phases, run_phases
from facedeploy.compiler.target import Target, resolve_target
from facedeploy.core.tensor_spec import TensorSpec


@dataclass(frozen=True)
class Case:
    """A convolution and what follows it. `padding` is top, left, bottom, right."""

    batch: int
    groups: int
    group_in: int
    group_out: int
    hw: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]
    bias: bool
    activation: str
    residual: str

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        top, left, bottom, right = self.padding
        padded = self.hw[0] + top + bottom, self.hw[1] + left + right
        rows, columns = (
            (side - dilation * (kernel - 1) - 1) // stride + 1
            for side, kernel, stride, dilation in zip(padded, self.kernel, self.stride, self.dilation, strict=True)
        )
        return self.batch, self.groups * self.group_out, rows, columns


TWICE = st.tuples(*[st.integers(1, 3)] * 2)
DENSE = st.tuples(st.just(1), st.integers(1, 9), st.integers(1, 19))
GROUPED = st.tuples(st.integers(2, 4), st.integers(1, 3), st.integers(1, 9))
DEPTHWISE = st.tuples(st.integers(1, 20), st.just(1), st.just(1))
EPILOGUE = {
    "bias": st.booleans(),
    "activation": st.sampled_from(["", "relu", "leaky_relu"]),
    "residual": st.sampled_from(["", "before", "behind"]),
}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    groups, group_in, group_out = draw(st.one_of(DENSE, GROUPED, DEPTHWISE))
    case = Case(
        draw(st.integers(1, 3)),
        groups,
        group_in,
        group_out,
        draw(st.tuples(st.integers(1, 12), st.integers(1, 40))),
        draw(st.tuples(*[st.integers(1, 5)] * 2)),
        draw(TWICE),
        draw(TWICE),
        draw(st.tuples(*[st.integers(0, 3)] * 4)),
        **{name: draw(values) for name, values in EPILOGUE.items()},
    )
    # A kernel that is larger than the padded image needs more padding.
    short = [max(0, 1 - side) * stride for side, stride in zip(case.out_shape[2:], case.stride, strict=True)]
    top, left, bottom, right = case.padding
    return Case(**{**vars(case), "padding": (top, left, bottom + short[0], right + short[1])})


def convolution(case: Case) -> tvm.IRModule:
    """`main(x)`; the residual adds a constant."""
    rng = np.random.default_rng(0)
    channels = case.groups * case.group_out
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((case.batch, case.groups * case.group_in, *case.hw), "float32"))
    y = relax.const(rng.normal(0, 1, case.out_shape).astype(np.float32))
    weight = rng.normal(0, 1, (channels, case.group_in, *case.kernel)).astype(np.float32)
    with builder.function("main", [x]):
        with builder.dataflow():
            value = builder.emit(
                relax.op.nn.conv2d(
                    x, relax.const(weight), case.stride, list(case.padding), case.dilation, groups=case.groups
                )
            )
            if case.bias:
                bias = rng.normal(0, 1, (1, channels, 1, 1)).astype(np.float32)
                value = builder.emit(relax.op.add(value, relax.const(bias)))
            if case.residual == "before":
                value = builder.emit(relax.op.add(value, y))
            if case.activation:
                apply = {"relu": relax.op.nn.relu, "leaky_relu": lambda v: relax.op.nn.leakyrelu(v, 0.1)}
                value = builder.emit(apply[case.activation](value))
            if case.residual == "behind":
                value = builder.emit(relax.op.add(y, value))
            value = builder.emit_output(value)
        builder.emit_func_output(value)
    return builder.get()


def fused(module: tvm.IRModule, target: Target) -> tvm.IRModule:
    some = tuple(phase for phase in phases(target) if phase.name in ("simplify", "legalize", "fuse"))
    *_, (_, result) = run_phases(module, some, target)
    return result


def run(module: tvm.IRModule, target: Target, image: np.ndarray, out_shape: tuple[int, ...]) -> np.ndarray:
    outputs = [TensorSpec("out", out_shape, "float32")]
    network = Network(TensorSpec("x", image.shape, "float32"), module, outputs)
    (result,) = run_executable(assemble([network], None, None), image, target)
    return result


def check_scheduled(case: Case, target: Target) -> None:
    before = fused(convolution(case), target)
    after = schedule_kernels(before, target)
    names = [variable.name_hint for variable in before.functions if "conv2d" in variable.name_hint]
    assert len(names) == 1
    assert "T.vectorized" in after[names[0]].script(), "the convolution was not scheduled"
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, (case.batch, case.groups * case.group_in, *case.hw)).astype(np.float32)
    got, expected = run(after, target, x, case.out_shape), run(before, target, x, case.out_shape)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * max(1, np.abs(expected).max()))


@settings(deadline=None, max_examples=20)
@given(case=cases())
def test_scheduled_convolution_computes_the_same(target: Target, case: Case) -> None:
    check_scheduled(case, target)


# One of each kind that a net has, for the narrower vectors too.
KNOWN = [
    Case(1, 1, 3, 8, (16, 24), (3, 3), (2, 2), (1, 1), (1, 1, 1, 1), True, "leaky_relu", ""),
    Case(2, 16, 1, 1, (9, 13), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), True, "relu", ""),
    Case(1, 1, 16, 24, (8, 32), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), True, "", "behind"),
    Case(1, 1, 5, 7, (1, 1), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), False, "", ""),
    Case(3, 1, 2, 11, (5, 17), (5, 2), (1, 3), (1, 2), (0, 1, 2, 3), False, "", ""),
]


@pytest.mark.parametrize("level", ["x86-64-v2", "x86-64-v3"])
@pytest.mark.parametrize("case", KNOWN)
def test_scheduled_convolution_computes_the_same_on_older_levels(case: Case, level: str) -> None:
    check_scheduled(case, resolve_target(level))


def scheduled_kinds(build, target: Target) -> dict[str, bool]:
    """What fusing makes of a graph of one (1, 8, 6, 6) input: whether each function is a convolution we schedule."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 8, 6, 6), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(build(builder.emit, x))
        builder.emit_func_output(result)
    module = fused(builder.get(), target)
    kernels = {v.name_hint: f for v, f in module.functions.items() if v.name_hint != "main"}
    image = np.random.default_rng(0).normal(0, 1, (1, 8, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(
        run(schedule_kernels(module, target), target, image, image.shape),
        run(module, target, image, image.shape),
        rtol=1e-5,
        atol=1e-5,
    )
    return {name: schedule_convolution(function, target) is not None for name, function in kernels.items()}


WEIGHT = np.random.default_rng(0).normal(0, 1, (8, 8, 3, 3)).astype(np.float32)


def test_functions_that_are_no_nchw_convolution_are_left_alone(target: Target) -> None:
    def build(emit, x):
        x = emit(relax.op.nn.max_pool2d(x, (2, 2), (1, 1), (1, 1, 0, 0)))
        x = emit(relax.op.nn.softmax(x, axis=1))
        row = emit(relax.op.reshape(x, (6, 48)))
        weight = np.random.default_rng(0).normal(0, 1, (48, 48)).astype(np.float32)
        x = emit(relax.op.matmul(row, relax.const(weight)))
        return emit(relax.op.reshape(x, (1, 8, 6, 6)))

    kinds = scheduled_kinds(build, target)
    assert len(kinds) >= 3
    assert not any(kinds.values())


def test_transposed_convolution_is_left_alone(target: Target) -> None:
    def build(emit, x):
        return emit(relax.op.nn.conv2d_transpose(x, relax.const(WEIGHT), padding=1))

    kinds = scheduled_kinds(build, target)
    assert list(kinds.values()) == [False]


GATES = {
    "same": lambda emit, x, y: y,
    "channels": lambda emit, x, y: emit(relax.op.nn.adaptive_avg_pool2d(y, (1, 1))),
    "whole": lambda emit, x, y: emit(relax.op.sum(x, axis=[0, 1, 2, 3], keepdims=True)),
    "columns": lambda emit, x, y: emit(relax.op.sum(x, axis=[0, 1, 2])),
    "scalar": lambda emit, x, y: emit(relax.op.sum(x)),
}


@pytest.mark.parametrize(
    ("gate", "first"),
    [
        ("same", "convolution"),
        ("channels", "convolution"),
        *product(("whole", "columns", "scalar"), ("convolution", "gate")),
    ],
)
def test_convolution_with_branches_behind_it_computes_the_same(target: Target, gate: str, first: str) -> None:
    """Swish, squeeze-and-excitation and the like: what is fused with a convolution is no chain."""

    def build(emit, x):
        def convolve():
            return emit(relax.op.nn.conv2d(x, relax.const(WEIGHT), padding=1))

        if first == "convolution":
            y = convolve()
            weights = emit(relax.op.sigmoid(GATES[gate](emit, x, y)))
        else:
            weights = emit(relax.op.sigmoid(GATES[gate](emit, x, None)))
            y = convolve()
        weighted = emit(relax.op.multiply(y, weights))
        z = emit(relax.op.nn.conv2d(weighted, relax.const(WEIGHT), padding=1))
        return emit(relax.op.add(emit(relax.op.nn.relu(z)), emit(relax.op.exp(emit(relax.op.negative(x))))))

    kinds = scheduled_kinds(build, target)
    assert sum(kinds.values()) == 2


def test_target_decides_the_width_of_vectors() -> None:
    case = Case(1, 1, 3, 8, (4, 64), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), True, "relu", "")
    for level, lanes in (("x86-64-v2", 4), ("x86-64-v3", 8), ("x86-64-v4", 16)):
        target = resolve_target(level)
        assert target.float32_lanes == lanes
        module = schedule_kernels(fused(convolution(case), target), target)
        (kernel,) = (f for v, f in module.functions.items() if "conv2d" in v.name_hint)
        assert f"in T.vectorized(T.int64({lanes}))" in kernel.script()
