"""Scales and shifts of channels go into the convolution in front of them, and nowhere else."""

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.ir import GenericConst
from tvm.relax import transform

from facedeploy.compiler.passes.fold_batch_norm import fold_batch_norm

RNG = np.random.default_rng(0)
CHANNELS, SIDE = 6, 5
EPSILON = 1e-3


def constant(*shape: int) -> Any:
    return relax.const(RNG.uniform(0.5, 1.5, shape).astype(np.float32))


STATISTICS = [constant(CHANNELS) for _ in range(4)]


def module_of(build: Any) -> tvm.IRModule:
    """`main(x)` of one dataflow block, whose outputs are what `build(builder, x)` returns."""
    x = relax.Var("x", relax.TensorType((1, CHANNELS, SIDE, SIDE), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            outputs = build(builder, x)
            result = builder.emit_output(relax.Tuple(outputs) if len(outputs) > 1 else outputs[0])
        builder.emit_func_output(result)
    return builder.get()


def norm(builder: Any, x: Any) -> Any:
    pair = builder.emit(relax.op.nn.batch_norm(x, *STATISTICS, axis=1, epsilon=EPSILON, training=False))
    return builder.emit(relax.TupleGetItem(pair, 0))


def conv(builder: Any, x: Any, groups: int = 1) -> Any:
    return builder.emit(relax.op.nn.conv2d(x, constant(CHANNELS, CHANNELS // groups, 3, 3), padding=1, groups=groups))


def folded(module: tvm.IRModule) -> tvm.IRModule:
    return transform.DeadCodeElimination()(fold_batch_norm(module))


def operators(module: tvm.IRModule) -> list[str]:
    calls = [binding.value for binding in module["main"].body.blocks[0].bindings]
    return [call.op.name.removeprefix("relax.").removeprefix("nn.") for call in calls if isinstance(call, relax.Call)]


def run(module: tvm.IRModule, x: np.ndarray) -> list[np.ndarray]:
    plain = transform.LegalizeOps()(transform.DecomposeOpsForInference()(module))
    machine = relax.VirtualMachine(tvm.compile(plain, target="llvm"), tvm.cpu())
    outputs = machine["main"](tvm.runtime.tensor(x))
    return [output.numpy() for output in ([outputs] if isinstance(outputs, tvm.runtime.Tensor) else outputs)]


def check_same(before: tvm.IRModule, after: tvm.IRModule) -> None:
    x = RNG.normal(0, 1, (1, CHANNELS, SIDE, SIDE)).astype(np.float32)
    for a, b in zip(run(after, x), run(before, x), strict=True):
        assert np.abs(a - b).max() <= 1e-5 * max(1.0, np.abs(b).max())


@pytest.mark.parametrize("groups", [1, 2, CHANNELS])
def test_norm_joins_a_convolution_with_or_without_a_bias(groups: int) -> None:
    def build(builder: Any, x: Any) -> list[Any]:
        first = norm(builder, conv(builder, x, groups))
        biased = builder.emit(relax.op.add(conv(builder, first, groups), constant(1, CHANNELS, 1, 1)))
        return [norm(builder, biased)]

    before = module_of(build)
    after = folded(before)
    assert operators(after) == ["conv2d", "add", "conv2d", "add"]
    check_same(before, after)


def test_norm_computes_from_its_statistics() -> None:
    after = folded(module_of(lambda builder, x: [norm(builder, conv(builder, x))]))
    bindings = after["main"].body.blocks[0].bindings
    gamma, beta, mean, variance = (each.value.numpy() for each in STATISTICS)
    shift = bindings[1].value.args[1]
    assert isinstance(shift, GenericConst)
    assert np.allclose(shift.value.numpy().reshape(-1), beta - mean * gamma / np.sqrt(variance + EPSILON), atol=1e-6)


def test_arithmetic_by_channel_constants_joins_the_convolution() -> None:
    def build(builder: Any, x: Any) -> list[Any]:
        value = conv(builder, x)
        value = builder.emit(relax.op.multiply(constant(CHANNELS, 1, 1), value))
        value = builder.emit(relax.op.add(value, constant(1, CHANNELS, 1, 1)))
        value = builder.emit(relax.op.divide(value, constant(1)))
        value = builder.emit(relax.op.subtract(relax.const(np.float32(1.5)), value))
        return [builder.emit(relax.op.subtract(value, constant(CHANNELS, 1, 1)))]

    before = module_of(build)
    after = folded(before)
    assert operators(after) == ["conv2d", "add"]
    check_same(before, after)


def test_norm_behind_anything_else_is_a_product_and_a_sum() -> None:
    before = module_of(lambda builder, x: [norm(builder, builder.emit(relax.op.nn.relu(conv(builder, x))))])
    after = folded(before)
    assert operators(after) == ["conv2d", "relu", "multiply", "add"]
    check_same(before, after)


def test_convolution_that_others_read_keeps_its_weights() -> None:
    def build(builder: Any, x: Any) -> list[Any]:
        value = conv(builder, x)
        return [norm(builder, value), builder.emit(relax.op.nn.relu(value))]

    before = module_of(build)
    after = folded(before)
    assert operators(after) == ["conv2d", "multiply", "add", "relu"]
    check_same(before, after)


@pytest.mark.parametrize("shape", [(SIDE,), (1, CHANNELS, 1, SIDE), (1, 1, SIDE, 1)])
def test_constants_that_differ_within_a_channel_stay(shape: tuple[int, ...]) -> None:
    module = module_of(lambda builder, x: [builder.emit(relax.op.multiply(conv(builder, x), constant(*shape)))])
    assert operators(folded(module)) == ["conv2d", "multiply"]


def test_division_by_a_convolution_stays() -> None:
    module = module_of(lambda builder, x: [builder.emit(relax.op.divide(constant(1), conv(builder, x)))])
    assert operators(folded(module)) == ["conv2d", "divide"]
