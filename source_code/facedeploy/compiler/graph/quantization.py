"""Which Relax calls turn a tensor into integers for others to turn back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir import GenericConst

from facedeploy.quantize.affine import Affine, same_affine

QUANTIZE, DEQUANTIZE = "relax.quantize", "relax.dequantize"
# What must be added to integers of a type to have u8.
SHIFTS = {"uint8": 0, "int8": 128}


def affines_of(block: Any, returned: Any) -> Mapping[Any, Affine]:
    """For the variables of a dataflow block that hold such integers, what these stand for: (C,) each.

    Those are variables that only dequantizing calls read, with the parameters they were made with. s8 is given as u8,
    128 higher. `returned` is what the function returns.
    """
    bindings = [(binding.var, binding.value) for binding in block.bindings]
    made = {variable: _affine(call) for variable, call in bindings if _is_call(call, QUANTIZE)}
    found = {variable: affine for variable, affine in made.items() if affine is not None}
    for _, bound in bindings:
        for variable in _variables(bound):
            if variable in found:
                other = _affine(bound) if is_dequantize(bound) else None
                if other is None or not same_affine(found[variable], other):
                    del found[variable]
    return {variable: affine for variable, affine in found.items() if not variable.same_as(returned)}


def is_dequantize(call: Any) -> bool:
    """Whether it turns integers into floats."""
    return _is_call(call, DEQUANTIZE)


def _is_call(bound: Any, name: str) -> bool:
    return isinstance(bound, relax.Call) and bool(bound.op == tvm.ir.Op.get(name))


def _variables(bound: Any) -> list[Any]:
    if isinstance(bound, relax.Var):
        return [bound]
    parts = bound.args if isinstance(bound, relax.Call) else getattr(bound, "fields", ())
    return [variable for part in parts for variable in _variables(part)]


def _affine(call: Any) -> Affine | None:
    """Of a tensor (N, C, H, W) with one scale and zero point, or one for each channel."""
    source = call.args[0].ty
    constants = call.args[1:]
    rank = len(source.shape) if getattr(source, "shape", None) is not None else 0
    if rank != 4 or not all(isinstance(constant, GenericConst) for constant in constants):
        return None
    scale, zero_point = (constant.value.numpy() for constant in constants)
    channels = int(source.shape[1])
    integers = str(call.ty.dtype if str(source.dtype) == "float32" else source.dtype)
    by_channel = max(scale.size, zero_point.size) > 1
    if integers not in SHIFTS or scale.dtype != np.float32 or (by_channel and int(call.attrs.axis) % rank != 1):
        return None
    if not {scale.size, zero_point.size} <= {1, channels} or "float32" not in (str(source.dtype), str(call.ty.dtype)):
        return None
    shifted = zero_point.astype(np.int32) + SHIFTS[integers]
    return Affine(
        np.broadcast_to(scale.reshape(-1), channels).astype(np.float32),
        np.broadcast_to(shifted.reshape(-1), channels).astype(np.uint8),
    )
