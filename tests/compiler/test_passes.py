"""Each pass by what it does to IR: before, after, and what it leaves alone."""

from collections.abc import Callable

import numpy as np
import pytest
import tvm
from tvm import relax, tirx
from tvm.script import tirx as T

from facedeploy.compiler.frontend.onnx_file import import_onnx, read_onnx
from facedeploy.compiler.passes.fold_reshapes import fold_reshapes
from facedeploy.compiler.passes.schedule_kernels import schedule_kernels
from facedeploy.compiler.passes.skip_argument_checks import PUBLIC, skip_argument_checks
from facedeploy.compiler.pipeline import phases, run_phases
from facedeploy.compiler.target import Target
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.export.export_model import ExportReport

TWO_BY_THREE = relax.TensorType((2, 3), "float32")
Build = Callable[[list[relax.Var]], relax.Expr]


def main_of(
    parameters: dict[str, relax.TensorType], build: Callable[..., relax.Expr], **attributes: int
) -> tvm.IRModule:
    """A module whose `main` is what `build` makes of its parameters."""
    builder = relax.BlockBuilder()
    variables = [relax.Var(name, kind) for name, kind in parameters.items()]
    with builder.function("main", variables, attrs=attributes or None):
        with builder.dataflow():
            result = builder.emit_output(build(builder.emit, *variables))
        builder.emit_func_output(result)
    return builder.get()


def count_calls(module: tvm.IRModule, name: str) -> int:
    found = []

    def visit(node: object) -> None:
        if isinstance(node, relax.Call) and node.op == tvm.ir.Op.get(name):
            found.append(node)

    relax.analysis.post_order_visit(module["main"], visit)
    return len(found)


ONES, RAMP = np.ones((2, 3), np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)


def test_fold_reshapes_folds_constants_and_no_inputs() -> None:
    def before(emit, x):
        ramp = emit(relax.op.reshape(relax.const(RAMP), (3, 2)))
        return emit(relax.op.add(emit(relax.op.reshape(x, (3, 2))), ramp))

    def after(emit, x):
        ramp = emit(relax.const(RAMP.reshape(3, 2)))
        return emit(relax.op.add(emit(relax.op.reshape(x, (3, 2))), ramp))

    folded = fold_reshapes(main_of({"x": TWO_BY_THREE}, before))
    tvm.ir.assert_structural_equal(folded, main_of({"x": TWO_BY_THREE}, after))
    relax.analysis.well_formed(folded)


def test_fold_reshapes_leaves_none_of_the_biases_of_a_net_to_be_compiled(exported_net: ExportReport) -> None:
    shape = (exported_net.batch, 3, *exported_net.size_hw)
    model = read_onnx(exported_net.onnx.path)
    module, _ = import_onnx(model, TensorSpec("input", shape, "float32"), exported_net.onnx.path)
    biased = sum(node.op_type == "Conv" and len(node.input) == 3 for node in model.graph.node)
    assert biased > 0
    assert count_calls(module, "relax.reshape") - count_calls(fold_reshapes(module), "relax.reshape") == biased


@pytest.fixture(scope="session")
def fused_net(exported_net: ExportReport, target: Target) -> tvm.IRModule:
    """The exported net, its operators fused and not yet scheduled."""
    shape = (exported_net.batch, 3, *exported_net.size_hw)
    image = TensorSpec("input", shape, "float32")
    module, _ = import_onnx(read_onnx(exported_net.onnx.path), image, exported_net.onnx.path)
    some = tuple(phase for phase in phases(target) if phase.name in ("simplify", "legalize", "fuse"))
    *_, (_, fused) = run_phases(module, some, target)
    return fused


def test_schedule_kernels_schedules_every_convolution_and_nothing_else(fused_net: tvm.IRModule, target: Target) -> None:
    scheduled = schedule_kernels(fused_net, target)
    assert {v.name_hint for v in scheduled.functions} == {v.name_hint for v in fused_net.functions}
    convolutions = 0
    for variable, before in fused_net.functions.items():
        after = scheduled[variable.name_hint]
        if "conv2d" not in variable.name_hint:
            tvm.ir.assert_structural_equal(after, before)
            continue
        convolutions += 1
        text = after.script()
        assert all(loop in text for loop in ("T.parallel", "T.vectorized", "T.unroll")), variable.name_hint
        assert [parameter.ty for parameter in after.params] == [parameter.ty for parameter in before.params]
        assert dict(after.attrs) == dict(before.attrs)
    assert convolutions > 40


def test_skip_argument_checks_takes_those_of_internal_kernels_only() -> None:
    def kernel_named(name: str, **attributes: bool) -> tirx.PrimFunc:
        @T.prim_func(s_tir=True, private=True)
        def kernel(a: T.Buffer((4,), "float32"), b: T.Buffer((4,), "float32")):
            for i in range(4):
                b[i] = a[i]

        return kernel.with_attr({"global_symbol": name, **attributes})

    kernels = {"internal": kernel_named("internal"), "public": kernel_named("public", **{PUBLIC: True})}
    lower, *_ = tirx.get_tir_pipeline("s_tir")
    packed = lower(tirx.transform.BindTarget(tvm.target.Target("llvm", host="llvm"))(tvm.IRModule(kernels)))
    trusting = skip_argument_checks(packed)
    assert "assert" in packed["internal"].script()
    assert "assert" not in trusting["internal"].script()
    tvm.ir.assert_structural_equal(trusting["public"], packed["public"])
