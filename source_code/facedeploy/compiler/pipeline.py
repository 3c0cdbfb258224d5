"""THE list of passes, phase by phase, from an imported Relax module to kernels; and how kernels are compiled."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import tvm
from tvm import tirx
from tvm.relax import transform

from facedeploy.compiler.kernels.blocked.candidates import Chooser, by_model
from facedeploy.compiler.passes.block_convolutions import block_convolutions
from facedeploy.compiler.passes.fold_batch_norm import fold_batch_norm
from facedeploy.compiler.passes.fold_reshapes import fold_reshapes
from facedeploy.compiler.passes.restore_limits import restore_limits
from facedeploy.compiler.passes.schedule_kernels import schedule_kernels
from facedeploy.compiler.passes.skip_argument_checks import skip_argument_checks
from facedeploy.compiler.target import Target

Pass = Callable[[tvm.IRModule], tvm.IRModule]


@dataclass(frozen=True)
class Phase:
    """Passes that belong together. Between phases a module is well formed, and can be printed for debugging."""

    name: str
    passes: tuple[Pass, ...]


def phases(target: Target, choose: Chooser = by_model) -> tuple[Phase, ...]:
    """From operators to kernels: the graph stays one dataflow block, weights are constants.

    `choose` takes one of several kernels where there are several.
    """
    return (
        Phase(
            "simplify",
            (
                fold_reshapes,
                transform.CanonicalizeBindings(),
                transform.FoldConstant(),
                restore_limits,
                fold_batch_norm,
                transform.DeadCodeElimination(),
            ),
        ),
        Phase("convolutions", (partial(block_convolutions, target=target, choose=choose),)),
        Phase(
            "legalize",
            (transform.LegalizeOps(), transform.AnnotateTIROpPattern(), transform.FoldConstant()),
        ),
        Phase("fuse", (transform.FuseOps(), transform.FuseTIR(), transform.DeadCodeElimination())),
        Phase("schedule", (partial(schedule_kernels, target=target),)),
    )


def run_phases(module: tvm.IRModule, phases: tuple[Phase, ...], target: Target) -> Iterator[tuple[Phase, tvm.IRModule]]:
    """Apply phase after phase; yields each with the module it leaves, so that a caller can look or stop in between."""
    for phase in phases:
        with target.tvm_target:
            for apply in phase.passes:
                module = apply(module)
        yield phase, module


# TVM finds a pipeline for kernels by its name. What TVM lowered takes TVM's own passes. The kernels built here are
# loops over buffers from the start: they take the passes that such code needs, since the others cost more time on them
# than LLVM does.
LOWERED_KERNELS, BUILT_KERNELS = "facedeploy.lowered", "facedeploy.built"


def lowered_kernels() -> tuple[Any, Any, Any]:
    """From functions that TVM lowered to packed functions; and how TVM finishes host and device code."""
    lower, finish_host, finish_device = tirx.get_tir_pipeline("s_tir")
    return tvm.transform.Sequential([lower, _trust()]), finish_host, finish_device


def built_kernels() -> tuple[Any, Any, Any]:
    """The same for kernels built here."""
    _, finish_host, finish_device = tirx.get_tir_pipeline("s_tir")
    transforms = tirx.transform
    passes = [
        transforms.StmtSimplify(),  # First, since FlattenBuffer takes far longer on what it would have simplified.
        transforms.FlattenBuffer(),
        transforms.NarrowDataType(32),
        transforms.StorageRewrite(),
        transforms.VerifyMemory(),
        transforms.AnnotateEntryFunc(),
        transforms.SplitHostDevice(),
        transforms.MakePackedAPI(),
        _trust(),
    ]
    return tvm.transform.Sequential(passes), finish_host, finish_device


def _trust() -> Any:
    return tvm.transform.module_pass(lambda module, _: skip_argument_checks(module), opt_level=0)


tirx.register_tir_pipeline(LOWERED_KERNELS, lowered_kernels)
tirx.register_tir_pipeline(BUILT_KERNELS, built_kernels)
