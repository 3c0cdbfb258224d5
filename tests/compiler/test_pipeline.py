"""The list of phases is documentation: it says what runs, and running it yields every phase."""

import numpy as np
import onnx
import pytest
import tvm
from tvm import relax

from facedeploy.compiler.call_list import Parameters, read_calls
from facedeploy.compiler.frontend.onnx_file import import_onnx
from facedeploy.compiler.pipeline import phases, run_phases
from facedeploy.compiler.target import Target
from facedeploy.core.tensor_spec import TensorSpec


@pytest.fixture(scope="module")
def imported(heads_model: onnx.ModelProto) -> tvm.IRModule:
    module, _ = import_onnx(heads_model, TensorSpec("input", (1, 3, 64, 64), "float32"), "heads.onnx")
    return module


def test_phases_have_these_names_in_this_order(target: Target) -> None:
    expected = ["simplify", "convolutions", "legalize", "fuse", "schedule"]
    assert [phase.name for phase in phases(target)] == expected
    assert all(phase.passes for phase in phases(target))


def test_run_phases_yields_each_phase_with_a_module_that_is_well_formed(imported: tvm.IRModule, target: Target) -> None:
    before = imported.script()
    steps = list(run_phases(imported, phases(target), target))
    assert [phase.name for phase, _ in steps] == [phase.name for phase in phases(target)]
    for _, module in steps:
        relax.analysis.well_formed(module)
    names = [{variable.name_hint for variable in module.functions} for _, module in steps]
    assert names[0] == {"main"}
    assert any(name.startswith("planar3x3_") for name in names[1])
    assert any(name.startswith("fused_") for name in names[3])
    assert names[4] == names[3]
    assert imported.script() == before, "the module that was given has changed"


def test_run_phases_stops_where_its_caller_stops(imported: tvm.IRModule, target: Target) -> None:
    steps = run_phases(imported, phases(target), target)
    phase, module = next(steps)
    assert phase.name == "simplify"
    assert {variable.name_hint for variable in module.functions} == {"main"}


def test_all_that_is_left_is_calls_of_kernels_and_weights(imported: tvm.IRModule, target: Target) -> None:
    *_, (_, optimized) = run_phases(imported, phases(target), target)
    constants = Parameters()
    calls, kernels = read_calls(optimized, constants)
    # Three strides of 8, 4 and 20 output channels, in blocks of 8, 4 and twice 16; the zero biases are shared.
    assert sum(np.prod(tensor.shape) for tensor in constants.tensors.values()) == 3 * (8 + 4 + 32) * 3 * 3 * 3 + (
        8 + 4 + 32
    )
    assert {call.kernel.name for call in calls.calls} == {variable.name_hint for variable in kernels.functions}
