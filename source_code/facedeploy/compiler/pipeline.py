"""THE list of passes, phase by phase, from an imported Relax module to one that the VM can run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import tvm
from tvm import tirx
from tvm.relax import transform

from facedeploy.compiler.passes.block_convolutions import block_convolutions
from facedeploy.compiler.passes.fold_batch_norm import fold_batch_norm
from facedeploy.compiler.passes.fold_reshapes import fold_reshapes
from facedeploy.compiler.passes.restore_limits import restore_limits
from facedeploy.compiler.passes.schedule_kernels import KERNEL, schedule_kernels
from facedeploy.compiler.passes.skip_argument_checks import skip_argument_checks
from facedeploy.compiler.target import Target

Pass = Callable[[tvm.IRModule], tvm.IRModule]


@dataclass(frozen=True)
class Phase:
    """Passes that belong together. Between phases a module is well formed, and can be printed for debugging."""

    name: str
    passes: tuple[Pass, ...]


def optimize_phases(target: Target) -> tuple[Phase, ...]:
    """From operators to kernels: the graph is still one dataflow block, weights are constants."""
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
        Phase("convolutions", (partial(block_convolutions, target=target),)),
        Phase(
            "legalize",
            (transform.LegalizeOps(), transform.AnnotateTIROpPattern(), transform.FoldConstant()),
        ),
        Phase("fuse", (transform.FuseOps(), transform.FuseTIR(), transform.DeadCodeElimination())),
        Phase("schedule", (partial(schedule_kernels, target=target),)),
    )


def lower_phases() -> tuple[Phase, ...]:
    """From kernels to a list of VM calls with planned memory; weights are parameters."""
    return (
        Phase(
            "to calls",
            # RewriteDataflowReshape is left out: it crashes on functions without blocks whose sizes in and out agree.
            (transform.ToNonDataflow(), transform.RemovePurityChecking(), transform.CallTIRRewrite()),
        ),
        Phase(
            "plan memory",
            (transform.StaticPlanBlockMemory(), transform.LowerAllocTensor(), transform.KillAfterLastUse()),
        ),
        Phase(
            "finalize",
            (
                transform.LowerRuntimeBuiltin(),
                transform.ComputePrimValue(),
                transform.VMShapeLower(),
                transform.AttachGlobalSymbol(),
            ),
        ),
    )


def run_phases(module: tvm.IRModule, phases: tuple[Phase, ...], target: Target) -> Iterator[tuple[Phase, tvm.IRModule]]:
    """Apply phase after phase; yields each with the module it leaves, so that a caller can look or stop in between."""
    for phase in phases:
        with target.tvm_target:
            for apply in phase.passes:
                module = apply(module)
        yield phase, module


# TVM finds a pipeline for kernels by its name.
KERNEL_PIPELINE = "facedeploy"


def kernel_pipeline() -> tuple[Any, Any, Any]:
    """From kernels to packed functions; and how TVM finishes host and device code.

    What TVM lowered takes TVM's own passes. The kernels built here are loops over buffers from the start: they take the
    passes that such code needs, since the others cost more time on them than LLVM does.
    """
    theirs, finish_host, finish_device = tirx.get_tir_pipeline("s_tir")

    def lower(module: tvm.IRModule, _: Any) -> tvm.IRModule:
        built, other = _split(module)
        return skip_argument_checks(_joined(_built_kernels()(built), theirs(other)))

    return tvm.transform.module_pass(lower, opt_level=0), finish_host, finish_device


def _built_kernels() -> Any:
    transforms = tirx.transform
    return tvm.transform.Sequential(
        [
            transforms.StmtSimplify(),  # First, since FlattenBuffer takes far longer on what it would have simplified.
            transforms.FlattenBuffer(),
            transforms.NarrowDataType(32),
            transforms.StorageRewrite(),
            transforms.VerifyMemory(),
            transforms.AnnotateEntryFunc(),
            transforms.SplitHostDevice(),
            transforms.MakePackedAPI(),
        ]
    )


def _split(module: tvm.IRModule) -> tuple[tvm.IRModule, tvm.IRModule]:
    """The kernels built here, and everything else."""
    built = {
        variable: function
        for variable, function in module.functions.items()
        if isinstance(function, tirx.PrimFunc) and function.attrs and KERNEL in function.attrs
    }
    other = {variable: function for variable, function in module.functions.items() if variable not in built}
    return tvm.IRModule(built, module.attrs), tvm.IRModule(other, module.attrs)


def _joined(first: tvm.IRModule, second: tvm.IRModule) -> tvm.IRModule:
    joined = first.clone()
    joined.update(second)
    return joined


tirx.register_tir_pipeline(KERNEL_PIPELINE, kernel_pipeline)
