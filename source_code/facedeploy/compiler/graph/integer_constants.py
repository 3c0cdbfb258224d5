"""What a kernel between integers is given beside its weights: where sums start, and how they become outputs."""

import numpy as np
import numpy.typing as npt

from facedeploy.compiler.graph.nodes import Convolution, Elementwise, FloatArray, HeadLevel, Part, Value
from facedeploy.compiler.kernels.blocked.elementwise import DIVIDED
from facedeploy.compiler.kernels.blocked.integers import Step
from facedeploy.compiler.kernels.blocked.layout import Array, Blocked, in_blocks, pack_bias, pack_depthwise

Float64 = npt.NDArray[np.float64]


def integer_weights(node: Convolution | HeadLevel) -> npt.NDArray[np.int8]:
    """The weights' integers."""
    assert node.weight_scales is not None
    shape = (-1,) + (1,) * (node.weights.ndim - 1)
    return np.rint(node.weights / node.weight_scales.reshape(shape)).astype(np.int8)


def sum_starts(node: Convolution | HeadLevel, lanes: int) -> npt.NDArray[np.int32]:
    """(blocks, lanes): minus what the zero points of the sources add to every sum."""
    weights = integer_weights(node).astype(np.int64).sum(axis=(2, 3))
    zero_points = np.concatenate([_channels(part, 1) for part in node.sources]).astype(np.int64)
    starts = -(weights[:, 0] * zero_points if _depthwise(node) else weights @ zero_points)
    return in_blocks(starts, lanes).astype(np.int32)


def output_steps(node: Convolution | HeadLevel, lanes: int) -> FloatArray:
    """(rows of `Step`, blocks, lanes)."""
    assert node.weight_scales is not None
    output = node.output if isinstance(node, Convolution) else None
    unit, zero_point = _affine(output)
    scales = np.concatenate([_channels(part, 0) for part in node.sources])
    rows = np.zeros((len(Step), len(node.bias)))
    # All channels that a dense convolution sums have one scale.
    rows[Step.SCALE] = node.weight_scales.astype(np.float64) * (scales if _depthwise(node) else scales[0]) / unit
    rows[Step.BIAS] = node.bias / unit
    rows[Step.ZERO_POINT] = zero_point
    residual = node.residual if isinstance(node, Convolution) else None
    if residual is not None:
        scale, zero = _affine(residual)
        rows[Step.RESIDUAL_SCALE] = scale / unit
        rows[Step.RESIDUAL_BIAS] = -zero * scale / unit
    return np.stack([pack_bias(row, lanes) for row in rows])


def depthwise_steps(node: Convolution, lanes: int, lanes_made: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weights (blocks, h, w, lanes) and bias (blocks, lanes) of a float one, in steps of its output.

    And the output's zero point, (blocks, `lanes_made`).
    """
    unit, zero_point = (np.broadcast_to(each, len(node.bias)) for each in _affine(node.output))
    weights = (node.weights / unit.reshape(-1, 1, 1, 1)).astype(np.float32)
    return pack_depthwise(weights, lanes), pack_bias(node.bias / unit, lanes), pack_bias(zero_point, lanes_made)


def affine_constants(value: Value, layout: Blocked, floats: Blocked | None) -> tuple[Array, Array]:
    """Scale and zero point of integers of this layout: (C,), or in blocks of the floats' layout; in their blocks."""
    assert value.affine is not None
    scale = value.affine.scale
    if floats is not None:
        scale = np.pad(scale, (0, -len(scale) % floats.block), constant_values=1.0).reshape(-1, floats.block)
    return scale, in_blocks(value.affine.zero_point, layout.block)


def elementwise_constants(node: Elementwise, lanes: int) -> list[Array]:
    """What `elementwise_integers` is given beside its sources."""
    unit, zero_point = _affine(node.outputs[0])
    divided = DIVIDED.get(node.name, 0)
    rows = []
    for index, value in enumerate(node.operands):
        scale, zero = _affine(value)
        rows.append((scale / unit if index < divided else scale, zero))
    affines = [np.stack([pack_bias(row, lanes) for row in pair]) for pair in [*rows, (1 / unit, zero_point)]]
    channels = [] if node.channels is None else [node.channels / unit if len(rows) < divided else node.channels]
    return [*affines[:-1], *(pack_bias(each, lanes) for each in channels), affines[-1]]


def _depthwise(node: Convolution | HeadLevel) -> bool:
    return isinstance(node, Convolution) and node.depthwise


def _affine(value: Value | None) -> tuple[Float64, Float64]:
    """Scale and zero point of a value; 1 and 0 of floats."""
    if value is None or value.affine is None:
        return np.ones(1), np.zeros(1)
    return value.affine.scale.astype(np.float64), value.affine.zero_point.astype(np.float64)


def _channels(part: Part, which: int) -> Float64:
    """Scale (0) or zero point (1) of the channels of a part."""
    return _affine(part.value)[which][part.first : part.first + part.channels]
