"""`backend.dtype: fp16` and `bf16`: weights are stored so, and computed with in float32."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from facedeploy.artifact.half import FloatArray, Half, from_half, to_half
from facedeploy.artifact.manifest import KernelCall, Weights
from facedeploy.artifact.parameters import Bytes, Parameter, parameter_layout
from facedeploy.artifact.winograd import POINTS, kernels_of
from facedeploy.compiler.kernels.blocked.integers import instruction_of
from facedeploy.compiler.target import Target, host_features
from facedeploy.core.errors import CompileError

HALVES: dict[str, Half] = {"fp16": "float16", "bf16": "bfloat16"}
# What computes faster in these than in float32, by LLVM's names. AVX512-BF16 is none of it: its products are as slow.
INSTRUCTION_SETS = {
    "fp16": {"amx-fp16": "AMX-FP16", "avx512fp16": "AVX512-FP16"},
    "bf16": {"amx-bf16": "AMX-BF16"},
}


def speed_note(dtype: str, asked: str, target: Target) -> str:
    """Why fp16 or bf16 code for a target, `asked` for by that name, is not faster than fp32: a line for the log."""
    sets = INSTRUCTION_SETS[dtype]
    features = {name for name, has in host_features().items() if has} if asked == "host" else set(target.features)
    name = "this CPU" if asked == "host" else target.name
    if found := [title for feature, title in sets.items() if feature in features]:
        reason = f"{name} has {' and '.join(found)}, for which this version has no kernels yet"
    else:
        reason = f"{name} lacks {' and '.join(sets.values())}"
    return (
        f"backend.dtype {dtype}: not faster than fp32, since {reason}; "
        f"weights are stored as {HALVES[dtype]} and computed with in float32"
    )


def arithmetic_of(calls: Sequence[KernelCall], target: Target) -> str:
    """What kernels compute with: float32, and integers where the model has them."""
    integer = any(at.region == "parameters" and at.dtype == "int8" for call in calls for at in call.arguments)
    return f"int8 by {instruction_of(target)}, float32" if integer else "float32"


def store_parameters(dtype: str, memory: Bytes, calls: Sequence[KernelCall]) -> tuple[Bytes, Weights]:
    """What kernels read of `memory` -> the bytes of `mod.params`, and what they are.

    Winograd's transforms are stored as the kernels that they are made of: that is a quarter of their size, and rounding
    the transforms costs more precision, since the algorithm ends with multiplying them, and their errors, by up to 64.
    Raises CompileError for a number past the range of `dtype`.
    """
    if dtype not in HALVES:
        return memory, Weights()
    half = HALVES[dtype]
    plain = parameter_layout(calls, Weights(half)).parameters
    weights = Weights(half, tuple(each.at.offset for each in plain if _is_winograd(each, memory)))
    layout = parameter_layout(calls, weights)
    file = np.zeros(layout.file_bytes, np.uint8)
    for parameter in layout.parameters:
        stored = parameter.in_file(file)
        if parameter.half is None:
            stored[...] = parameter.in_memory(memory)
        else:
            numbers = _numbers(parameter, memory)
            _check_range(dtype, numbers, parameter, calls)
            stored[...] = to_half(numbers, half)
    return file, weights


def _is_winograd(parameter: Parameter, memory: Bytes) -> bool:
    if parameter.half is None or parameter.at.shape[:1] != (POINTS,):
        return False
    return kernels_of(replace(parameter, winograd=True).in_memory(memory)) is not None


def _numbers(parameter: Parameter, memory: Bytes) -> FloatArray:
    """What of a parameter is to be rounded."""
    numbers: FloatArray = parameter.in_memory(memory)
    kernels = kernels_of(numbers) if parameter.winograd else numbers
    assert kernels is not None
    return kernels


def _check_range(dtype: str, numbers: FloatArray, parameter: Parameter, calls: Sequence[KernelCall]) -> None:
    half = HALVES[dtype]
    rounded = np.empty_like(numbers)
    from_half(to_half(numbers, half), half, rounded)
    lost = np.abs(numbers[np.isfinite(numbers) & ~np.isfinite(rounded)])
    if lost.size:
        kernel = next(call.kernel for call in calls if parameter.at in call.arguments)
        way_out = "bf16 or --set backend.dtype=fp32" if dtype == "fp16" else "fp32"
        raise CompileError(
            f"backend.dtype: got {dtype}, and {(kernel.layers or (kernel.name,))[0]} has a weight of "
            f"{lost.max():g}, which {half} cannot hold: --set backend.dtype={way_out}"
        )
