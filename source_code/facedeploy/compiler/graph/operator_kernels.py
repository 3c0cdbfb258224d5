"""The blocked kernels of operators that are no convolutions."""

from collections.abc import Sequence
from typing import Any

from facedeploy.compiler.graph.integer_constants import elementwise_constants
from facedeploy.compiler.graph.nodes import Elementwise, Interpolation, Operator, Pooling
from facedeploy.compiler.kernels.blocked.elementwise import elementwise, elementwise_integers
from facedeploy.compiler.kernels.blocked.interpolation import interpolation
from facedeploy.compiler.kernels.blocked.layout import Array, Blocked, in_blocks, pack_bias
from facedeploy.compiler.kernels.blocked.pooling import pooling
from facedeploy.compiler.target import Target


def operator_kernel(
    node: Operator, sources: Sequence[Blocked], output: Blocked, target: Target
) -> tuple[Any, list[Array]]:
    """The PrimFunc `name(sources..., constants..., output)` of one of `blocked_operators`, and its constants."""
    size = f"{output.channels}x{output.height}x{output.width}"
    match node:
        case Pooling():
            affine, dtype = node.outputs[0].affine, node.outputs[0].dtype
            zero_points = [] if affine is None else [in_blocks(affine.zero_point, output.block)]
            return pooling(f"{node.kind}_pool_{size}", sources[0], output, node.window, node.kind, dtype), zero_points
        case Interpolation():
            axes = [(axis.below, axis.above, axis.share) for axis in (node.rows, node.columns)]
            return interpolation(f"bilinear_{size}", sources[0], output), [array for axis in axes for array in axis]
        case Elementwise():
            name, count = f"{node.name.split('.')[-1]}_{size}", int(node.channels is not None)
            if node.outputs[0].affine is not None:
                name = f"integer_{name}"
                function = elementwise_integers(name, node.name, node.numbers, sources, count, output, target)
                return function, elementwise_constants(node, output.block)
            constants: list[Array] = [] if node.channels is None else [pack_bias(node.channels, output.block)]
            return elementwise(name, node.name, node.numbers, sources, count, output), constants
    raise TypeError(f"{node.name} has no blocked kernel")
