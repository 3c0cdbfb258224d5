"""Every TIR function that a kernel family knows is replaced by that family's version of it."""

from typing import Any

import tvm
from tvm import tirx

from facedeploy.compiler.kernels.convolution import schedule_convolution
from facedeploy.compiler.target import Target

KERNEL = "kernel"  # Marks functions that are built as they shall be.
# The families, first match first. What none of them takes keeps TVM's own lowering.
FAMILIES = (schedule_convolution,)


def is_built(function: Any) -> bool:
    """Whether a function of a module is a kernel built here."""
    return isinstance(function, tirx.PrimFunc) and bool(function.attrs) and KERNEL in function.attrs


def schedule_kernels(module: tvm.IRModule, target: Target) -> tvm.IRModule:
    """Requires: operators are legalized and fused. Ensures: the same functions by name and arguments, scheduled."""
    result = module.clone()
    for variable, function in module.functions.items():
        if not isinstance(function, tirx.PrimFunc) or is_built(function):
            continue
        for family in FAMILIES:
            scheduled = family(function, target)
            if scheduled is not None:
                attributes = dict(function.attrs.items()) if function.attrs else {}
                result[variable] = scheduled.with_attr(attributes)
                break
    return result
