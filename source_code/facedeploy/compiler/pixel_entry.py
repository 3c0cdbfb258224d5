"""What an inference does first when it is given u8 pixels instead of the model's float input."""

from dataclasses import replace

import numpy as np
import tvm

from facedeploy.artifact.manifest import Kernel
from facedeploy.compiler.call_list import Call, CallList, Parameters, Value
from facedeploy.compiler.kernels.blocked.integers import U8
from facedeploy.compiler.kernels.blocked.layout import Blocked
from facedeploy.compiler.kernels.blocked.quantization import MAKES_INTEGERS, store_pixels
from facedeploy.compiler.kernels.normalize import normalize
from facedeploy.core.normalization import Normalization
from facedeploy.image import operations


def from_pixels(
    calls: CallList, parameters: Parameters, kernels: tvm.IRModule, normalization: Normalization
) -> CallList:
    """The calls for pixels (N, H, W, 3); what they need beyond `kernels` is added there.

    Pixels that are the integers which the model's input becomes are stored as these; others are normalized first.
    """
    batch, channels, height, width = calls.input.shape
    canvas = Value((batch, height, width, channels), U8)
    out = _integers(calls, parameters, kernels, normalization)
    if out is None:
        kernels["normalize"] = normalize(normalization, batch, (height, width))
        return calls.after("normalize", canvas)
    layout = Blocked(batch, channels, height, width, out.shape[-1], (out.shape[2] - height) // 2)
    kernels["store_pixels"] = store_pixels("store_pixels", layout)
    zero_point = calls.calls[0].arguments[2]
    first = Call(Kernel("store_pixels"), (canvas, zero_point, out))
    return replace(calls, input=canvas, calls=(first, *calls.calls[1:]))


def _integers(
    calls: CallList, parameters: Parameters, kernels: tvm.IRModule, normalization: Normalization
) -> Value | None:
    """The tensor of integers that the input becomes, if nothing else reads the input, and they are the pixels."""
    first, *others = calls.calls
    if MAKES_INTEGERS not in (kernels[first.kernel.name].attrs or {}) or first.arguments[0] is not calls.input:
        return None
    if any(value is calls.input for call in others for value in call.arguments) or len(first.arguments) != 4:
        return None
    _, scale, zero_point, out = first.arguments
    every = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 1, 3))
    values = operations.normalize(every, normalization)[:, :, 0]
    tensors = parameters.tensors
    scales, zeros = tensors[scale].numpy(), tensors[zero_point].numpy().reshape(-1)[:3].astype(np.float32)
    integers = np.clip(np.rint(values / scales[:, None]) + zeros[:, None], 0, 255)
    return out if np.array_equal(integers, np.broadcast_to(np.arange(256), (3, 256))) else None
