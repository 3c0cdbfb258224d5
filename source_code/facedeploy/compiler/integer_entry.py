"""Pixels of a model whose input becomes integers, where those are the pixels: it need not make floats of them first."""

from dataclasses import replace

import numpy as np
import tvm

from facedeploy.compiler.call_list import CallList, Parameters
from facedeploy.compiler.kernels.blocked.integers import GROUP
from facedeploy.compiler.kernels.blocked.quantization import MAKES_INTEGERS
from facedeploy.compiler.kernels.canvas_rows import IntegerRows
from facedeploy.core.normalization import Normalization
from facedeploy.image import operations


def from_integers(
    calls: CallList, parameters: Parameters, kernels: tvm.IRModule, normalization: Normalization
) -> tuple[CallList, IntegerRows] | None:
    """The calls for the integers that the first one makes, and how these are made of pixels.

    None where something else reads the input, too, and where the integers are not the pixels.
    """
    first, *others = calls.calls
    if MAKES_INTEGERS not in (kernels[first.kernel.name].attrs or {}) or first.arguments[0] is not calls.input:
        return None
    if any(value is calls.input for call in others for value in call.arguments) or len(first.arguments) != 4:
        return None
    _, scale, zero_point, integers = first.arguments
    if integers.shape[-1] != GROUP:
        return None
    every = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 1, 3))
    values = operations.normalize(every, normalization)[:, :, 0]
    scales, zeros = parameters.tensors[scale].numpy(), parameters.tensors[zero_point].numpy().reshape(-1)
    made = np.clip(np.rint(values / scales[:, None]) + zeros[:3, None].astype(np.float32), 0, 255)
    if not np.array_equal(made, np.broadcast_to(np.arange(256), (3, 256))):
        return None
    halo = (integers.shape[2] - calls.input.shape[2]) // 2
    return replace(calls, input=integers, calls=tuple(others)), IntegerRows(halo, tuple(map(int, zeros)))
