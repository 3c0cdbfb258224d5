"""What is left of a module at the end: calls of kernels, parameters, and where each tensor lies."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import onnx
import pytest
import tvm
from differential import run_executable
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from tvm import relax

from facedeploy.artifact.manifest import ALIGNMENT, Kernel
from facedeploy.compiler.assemble import Network, assemble
from facedeploy.compiler.call_list import Call, CallList, Parameters, Value, input_alignment, read_calls
from facedeploy.compiler.frontend.onnx_file import import_onnx
from facedeploy.compiler.pipeline import phases, run_phases
from facedeploy.compiler.plan_memory import place_in_a_row, plan_memory
from facedeploy.compiler.target import Target
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.export.export_model import ExportReport

Build = Callable[..., relax.Expr]
ONES, RAMP = np.ones((2, 3), np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)


def kernels_of(build: Build) -> tvm.IRModule:
    """A module of one input (2, 3) whose operators TVM has made kernels, one each."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((2, 3), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(build(builder.emit, x))
        builder.emit_func_output(result)
    return relax.transform.LegalizeOps()(builder.get())


def test_each_different_constant_is_a_parameter() -> None:
    def build(emit, x):
        ones = relax.const(ONES)
        x = emit(relax.op.add(x, ones))
        x = emit(relax.op.multiply(x, relax.const(RAMP)))
        x = emit(relax.op.subtract(x, ones))
        return emit(relax.op.divide(x, relax.const(ONES.copy())))

    constants = Parameters()
    calls, _ = read_calls(kernels_of(build), constants)
    tensors = [constants.tensors[value] for value in calls.parameters]
    assert [tensor.numpy().tolist() for tensor in tensors] == [ONES.tolist(), RAMP.tolist()]
    ones, ramp = calls.parameters
    assert [call.arguments[1] for call in calls.calls] == [ones, ramp, ones, ones]
    # Each result is what the next one reads first, and the last one is the output.
    chain = [calls.input, *(call.arguments[-1] for call in calls.calls)]
    assert [call.arguments[0] for call in calls.calls] == chain[:-1]
    assert calls.outputs == (chain[-1],)


def test_constant_that_no_kernel_reads_is_no_parameter() -> None:
    def build(emit, x):
        pair = emit(relax.Tuple([relax.const(RAMP), relax.const(ONES)]))
        return emit(relax.op.add(x, relax.TupleGetItem(pair, 1)))

    constants = Parameters()
    calls, _ = read_calls(kernels_of(build), constants)
    tensors = [constants.tensors[value] for value in calls.parameters]
    assert [tensor.numpy().tolist() for tensor in tensors] == [ONES.tolist()]
    assert calls.parameters == (calls.calls[0].arguments[1],)


def test_equal_bytes_of_other_shapes_and_types_are_parameters_of_their_own() -> None:
    def build(emit, x):
        row = emit(relax.op.add(x, relax.const(np.zeros((1, 3), np.float32))))
        column = emit(relax.op.add(row, relax.const(np.zeros((2, 1), np.float32))))
        whole = emit(relax.op.astype(relax.const(np.zeros((2, 3), np.int32)), "float32"))
        return emit(relax.op.concat([column, whole, relax.const(np.zeros((2, 3), np.float32))]))

    constants = Parameters()
    calls, _ = read_calls(kernels_of(build), constants)
    tensors = [constants.tensors[value] for value in calls.parameters]
    expected = [("float32", (1, 3)), ("float32", (2, 1)), ("int32", (2, 3)), ("float32", (2, 3))]
    assert [(str(tensor.dtype), tuple(tensor.shape)) for tensor in tensors] == expected
    assert [(value.dtype, value.shape) for value in calls.parameters] == expected


def test_every_weight_of_a_net_is_a_parameter_once(exported_net: ExportReport) -> None:
    shape = (exported_net.batch, 3, *exported_net.size_hw)
    model = onnx.load(exported_net.onnx.path)
    module, _ = import_onnx(model, TensorSpec("input", shape, "float32"), exported_net.onnx.path)
    legal = relax.transform.LegalizeOps()(relax.transform.FoldConstant()(module))
    constants = Parameters()
    read_calls(legal, constants)
    tensors = list(constants.tensors.values())
    used = {name for node in model.graph.node if node.op_type == "Conv" for name in node.input[1:]}
    stored = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer if entry.name in used}
    contents = {array.tobytes() for array in stored.values()}
    found = [tensor.numpy().tobytes() for tensor in tensors]
    assert len(found) == len({(content, tuple(t.shape)) for content, t in zip(found, tensors, strict=True)})
    assert contents <= set(found)


def both(emit, x):
    doubled = emit(relax.op.add(x, x))
    return relax.Tuple([doubled, emit(relax.op.add(doubled, relax.const(RAMP))), x])


OUTPUTS = {
    "the input": (lambda emit, x: x, lambda x: [x]),
    "a weight": (lambda emit, x: relax.const(RAMP), lambda x: [RAMP]),
    "a number": (lambda emit, x: relax.const(np.float32(3)), lambda x: [np.float32(3)]),
    "one result twice": (
        lambda emit, x: relax.Tuple([emit(relax.op.add(x, x))] * 2),
        lambda x: [x + x, x + x],
    ),
    "a result that others read": (both, lambda x: [x + x, x + x + RAMP, x]),
    "parts": (
        lambda emit, x: emit(relax.op.split(x, 3, axis=1)),
        lambda x: [x[:, :1], x[:, 1:2], x[:, 2:]],
    ),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_outputs_are_what_numpy_says(target: Target, kind: str) -> None:
    build, oracle = OUTPUTS[kind]
    image = np.random.default_rng(0).normal(0, 1, (2, 3)).astype(np.float32)
    expected = oracle(image)
    outputs = [TensorSpec(str(index), array.shape, "float32") for index, array in enumerate(expected)]
    network = Network(TensorSpec("x", (2, 3), "float32"), kernels_of(build), outputs)
    got = run_executable(assemble([network], None, None), image, target)
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_no_kernel_computes_is_named() -> None:
    def build(emit, x):
        return emit(relax.op.nonzero(x))

    with pytest.raises(ValueError, match="static shape"):
        read_calls(kernels_of(build), Parameters())


def test_a_kernel_that_reads_any_float_decides_the_alignment_of_the_input(
    heads_model: onnx.ModelProto, target: Target
) -> None:
    module, _ = import_onnx(heads_model, TensorSpec("input", (1, 3, 64, 64), "float32"), "heads.onnx")
    *_, (_, optimized) = run_phases(module, phases(target), target)
    calls, kernels = read_calls(optimized, Parameters())
    assert input_alignment(calls, kernels) == 4
    lowered, functions = read_calls(kernels_of(lambda emit, x: emit(relax.op.add(x, x))), Parameters())
    assert input_alignment(lowered, functions) == ALIGNMENT


@st.composite
def call_lists(draw: st.DrawFn) -> CallList:
    """Calls that read values there are and write one or two new ones."""
    image = Value((draw(st.integers(1, 200)),), "float32")
    parameters = tuple(Value((draw(st.integers(1, 100)),), "int8") for _ in range(draw(st.integers(0, 3))))
    known, made, calls = [image, *parameters], [], []
    for step in range(draw(st.integers(1, 12))):
        read = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique_by=id))
        written = [Value((draw(st.integers(1, 300)),), "float32") for _ in range(draw(st.integers(1, 2)))]
        known += written
        made += written
        calls.append(Call(Kernel(str(step)), (*read, *written)))
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique_by=id))
    return CallList(image, parameters, tuple(outputs), tuple(calls))


@given(calls=call_lists())
def test_no_tensor_is_overwritten_while_it_is_needed(calls: CallList) -> None:
    """Byte by byte: what a call reads was last written by the call that made it."""
    parameters, parameter_bytes = place_in_a_row("parameters", calls.parameters)
    plan = plan_memory(calls, parameters)
    sizes = {
        "input": calls.input.bytes,
        "parameters": parameter_bytes,
        "workspace": plan.workspace_bytes,
        "outputs": plan.output_bytes,
    }
    memory = {region: np.full(size, -1) for region, size in sizes.items()}
    owner = {value: index for index, value in enumerate(plan.places)}

    def bytes_of(value: Value) -> np.ndarray:
        at = plan.places[value]
        assert at.offset % ALIGNMENT == 0
        place = memory[at.region][at.offset : at.offset + value.bytes]
        assert place.size == value.bytes, "outside of its region"
        return place

    for value in (calls.input, *calls.parameters):
        bytes_of(value)[:] = owner[value]
    made = {calls.input, *calls.parameters}
    for call in calls.calls:
        for value in call.arguments:
            if value not in made:
                bytes_of(value)[:] = owner[value]
        made |= set(call.arguments)
        for value in call.arguments:
            assert (bytes_of(value) == owner[value]).all()
    for value in calls.outputs:
        assert plan.places[value].region == "outputs"
        assert (bytes_of(value) == owner[value]).all()


def test_a_chain_needs_memory_for_two_neighbors_only() -> None:
    values = [Value((1000,), "float32") for _ in range(10)]
    calls = tuple(Call(Kernel("k"), pair) for pair in pairwise(values))
    plan = plan_memory(CallList(values[0], (), (values[-1],), calls), {})
    assert plan.workspace_bytes == 2 * 4032
    assert plan.output_bytes == 4032
