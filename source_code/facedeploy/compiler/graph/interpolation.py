"""Which Relax calls are bilinear resizing that blocked kernels can do."""

from collections.abc import Callable

import numpy as np

from facedeploy.compiler.graph.elementwise import RESIZE
from facedeploy.compiler.graph.nodes import Interpolation, Operator
from facedeploy.compiler.kernels.blocked.interpolation import between
from facedeploy.compiler.kernels.blocked.layout import Array

# Pixels of an axis of the output, sides of source and output -> places in the source, px, as TVM has them.
PLACES: dict[str, Callable[[Array, int, int], Array]] = {
    "asymmetric": lambda i, side, out: i * side / out,
    "half_pixel": lambda i, side, out: (i + 0.5) * side / out - 0.5,
    "pytorch_half_pixel": lambda i, side, out: (i + 0.5) * side / out - 0.5 if out > 1 else i * 0.0,
    "align_corners": lambda i, side, out: i * (side - 1) / (out - 1) if out > 1 else i * 0.0,
}


def interpolation_of(node: Operator) -> Interpolation | None:
    """The node as bilinear resizing of a float32 tensor (N, C, H, W); None for any other."""
    if node.name != RESIZE or len(node.operands) != 1:
        return None
    attributes, source, output = node.call.attrs, node.operands[0], node.outputs[0]
    if attributes.method != "linear" or attributes.layout != "NCHW" or len(source.shape) != 4:
        return None
    places = PLACES.get(attributes.coordinate_transformation_mode)
    if places is None or {source.dtype, output.dtype} != {"float32"}:
        return None
    rows, columns = (
        between(places(np.arange(out), side, out), side)
        for side, out in zip(source.shape[2:], output.shape[2:], strict=True)
    )
    return Interpolation(node.outputs, node.call, node.operands, node.arguments, rows, columns)
