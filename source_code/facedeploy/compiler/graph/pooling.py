"""Which Relax calls are pooling that blocked kernels can do."""

from facedeploy.compiler.graph.nodes import Operator, Pooling
from facedeploy.compiler.kernels.blocked.direct import Window
from facedeploy.compiler.kernels.blocked.pooling import AVERAGE, AVERAGE_PADDED, MAX

MAX_POOL, AVERAGE_POOL, GLOBAL_POOL, MEAN = (
    "relax.nn.max_pool2d",
    "relax.nn.avg_pool2d",
    "relax.nn.adaptive_avg_pool2d",
    "relax.mean",
)


def pooling_of(node: Operator) -> Pooling | None:
    """The node as pooling of a float32 tensor (N, C, H, W); None for any other."""
    if len(node.inputs) != 1 or any(len(each.shape) != 4 or each.dtype != "float32" for each in node.inputs):
        return None
    source, output = node.inputs[0].shape, node.outputs[0].shape
    if len(output) != 4 or output[:2] != source[:2]:
        return None
    attributes = node.call.attrs
    everything = node.name == GLOBAL_POOL or (
        node.name == MEAN and sorted(int(axis) % 4 for axis in attributes.axis or ()) == [2, 3]
    )
    if everything and output[2:] == (1, 1):
        return Pooling(node.outputs, node.call, node.operands, node.arguments, Window((source[2], source[3])), AVERAGE)
    if node.name not in (MAX_POOL, AVERAGE_POOL) or attributes.layout != "NCHW":
        return None
    kernel, stride, dilation = (
        (int(sides[0]), int(sides[1])) for sides in (attributes.pool_size, attributes.strides, attributes.dilation)
    )
    before, after = ([int(side) for side in sides] for sides in (attributes.padding[:2], attributes.padding[2:]))
    window = Window(kernel, stride, (before[0], before[1]))
    kind = MAX if node.name == MAX_POOL else AVERAGE_PADDED if attributes.count_include_pad else AVERAGE
    for axis in range(2):
        last = (output[2 + axis] - 1) * stride[axis] - before[axis]
        if dilation[axis] != 1 or before[axis] >= kernel[axis] or last >= source[2 + axis]:
            return None
        # Rounded up, a window reaches past the padding: what counts there is told differently by everybody.
        if kind == AVERAGE_PADDED and last + kernel[axis] > source[2 + axis] + after[axis]:
            return None
    return Pooling(node.outputs, node.call, node.operands, node.arguments, window, kind)
