"""Which Relax calls are arithmetic and activations that blocked kernels can do."""

from typing import Any

import numpy as np
from tvm.ir import GenericConst

from facedeploy.compiler.graph.nodes import Elementwise, FloatArray, Operator, Value
from facedeploy.compiler.kernels.blocked.elementwise import FUNCTIONS

BINARY = {"relax.add", "relax.subtract", "relax.multiply", "relax.divide", "relax.maximum", "relax.minimum"}
COMMUTATIVE = BINARY - {"relax.subtract", "relax.divide"}
LEAKY, PRELU, CLIP, RESIZE = "relax.nn.leakyrelu", "relax.nn.prelu", "relax.clip", "relax.image.resize2d"


def elementwise_of(node: Operator) -> Elementwise | None:
    """The node as arithmetic on float32 tensors (N, C, H, W); None for any other."""
    output = node.outputs[0]
    if node.name not in FUNCTIONS or len(output.shape) != 4 or output.dtype != "float32" or not node.operands:
        return None
    if not all(_divides(value, output) for value in node.operands):
        return None
    call = node.call
    numbers: tuple[float, ...] = ()
    channels: FloatArray | None = None
    if node.name in BINARY:
        if len(node.operands) == 1:
            constants = [isinstance(argument, GenericConst) for argument in call.args]
            if sum(constants) != 1 or (constants[0] and node.name not in COMMUTATIVE):
                return None
            channels = channels_of(call.args[constants.index(True)], output)
            if channels is None or node.operands[0].shape != output.shape:
                return None
        elif node.operands[0].shape != output.shape and node.operands[1].shape != output.shape:
            return None
    elif node.name == PRELU:
        slopes = call.args[1]
        if int(call.attrs.axis) % 4 != 1 and not (isinstance(slopes, GenericConst) and slopes.value.numpy().size == 1):
            return None
        values = slopes.value.numpy() if isinstance(slopes, GenericConst) else np.zeros(0)
        if len(node.operands) != 1 or values.size not in (1, output.shape[1]):
            return None
        channels = np.broadcast_to(values.reshape(-1), output.shape[1]).astype(np.float32)
    elif node.name == LEAKY:
        numbers = (float(call.attrs.alpha),)
    elif node.name == CLIP:
        limits = [_number(argument) for argument in call.args[1:]]
        if None in limits:
            return None
        single = float(np.finfo(np.float32).max)
        numbers = tuple(float(np.clip(limit, -single, single)) for limit in limits if limit is not None)
    elif node.name == RESIZE and not is_enlargement(node):
        return None
    return Elementwise(node.outputs, call, node.operands, node.arguments, numbers, channels)


def is_enlargement(node: Operator) -> bool:
    """Whether a resize repeats every pixel of its source, by a whole factor an axis."""
    attributes = node.call.attrs
    source, output = node.operands[0], node.outputs[0]
    whole = all(out % side == 0 for out, side in zip(output.shape[2:], source.shape[2:], strict=True))
    nearest = attributes.method == "nearest_neighbor" and attributes.layout == "NCHW"
    # Asymmetric coordinates rounded down: pixel i is i // factor of the source, which is what the kernels do.
    plain = attributes.coordinate_transformation_mode == "asymmetric" and attributes.rounding_method in ("floor", "")
    return bool(whole and nearest and plain)


def channels_of(constant: Any, output: Value) -> FloatArray | None:
    """A constant operand of a tensor (N, C, H, W) as (C,), if it is the same for every pixel."""
    array = constant.value.numpy()
    shape = (1,) * (4 - array.ndim) + array.shape
    channels = output.shape[1]
    if array.dtype != np.float32 or shape not in ((1, channels, 1, 1), (1, 1, 1, 1)):
        return None
    return np.broadcast_to(array.reshape(-1), channels).astype(np.float32)


def _number(argument: Any) -> float | None:
    value = getattr(argument, "value", None)
    value = getattr(value, "value", value)
    return float(value) if isinstance(value, (int, float)) else None


def _divides(value: Value, output: Value) -> bool:
    """Same images and channels, and pixels that each cover a whole number of the output's."""
    if len(value.shape) != 4 or value.dtype != "float32" or value.shape[:2] != output.shape[:2]:
        return False
    return all(out % side == 0 for out, side in zip(output.shape[2:], value.shape[2:], strict=True))
