"""THE list of passes, phase by phase, from an imported Relax module to one that the VM can run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import tvm
from tvm.relax import transform

from facedeploy.compiler.passes.schedule_kernels import schedule_kernels
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
            "simplify", (transform.CanonicalizeBindings(), transform.FoldConstant(), transform.DeadCodeElimination())
        ),
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
