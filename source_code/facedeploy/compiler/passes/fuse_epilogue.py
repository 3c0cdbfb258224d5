"""Bias, activation and residual addition behind a convolution become part of it."""

import numpy as np
from tvm.ir import GenericConst

from facedeploy.compiler.graph.nodes import Convolution, Elementwise, Graph, Node, Operator, Value

ADD, RELU, LEAKY, PRELU = "relax.add", "relax.nn.relu", "relax.nn.leakyrelu", "relax.nn.prelu"
RESIZE = "relax.image.resize2d"


def fuse_epilogue(graph: Graph) -> None:
    """Requires: convolutions are nodes. Ensures: no node that one of them could do follows it as its only reader.

    An addition joins the later of the two convolutions it adds, since the other one's result exists by then; a nearest
    enlargement by a whole factor joins the addition that reads it.
    """
    changed = True
    while changed:
        changed = any(_fuse_reader(graph, node) for node in list(graph.nodes) if isinstance(node, Convolution))


def _fuse_reader(graph: Graph, node: Convolution) -> bool:
    reader = graph.only_reader(node.output)
    if not isinstance(reader, Operator):
        return False
    if reader.name == ADD:
        return _fuse_bias(graph, node, reader) or _fuse_residual(graph, node, reader)
    return reader.name in (RELU, LEAKY, PRELU) and _fuse_activation(graph, node, reader)


def _take_over(graph: Graph, node: Convolution, reader: Node) -> None:
    """The convolution yields what its reader did, and runs in its place."""
    node.outputs = reader.outputs
    graph.nodes.remove(node)
    graph.nodes[graph.nodes.index(reader)] = node


def _fuse_bias(graph: Graph, node: Convolution, reader: Operator) -> bool:
    if not node.plain:
        return False
    constants = [argument for argument in reader.call.args if isinstance(argument, GenericConst)]
    if len(constants) != 1:
        return False
    constant = constants[0].value.numpy()
    channels = len(node.bias)
    if constant.dtype != np.float32 or constant.shape not in ((channels, 1, 1), (1, channels, 1, 1), (), (1,)):
        return False
    node.bias = node.bias + (constant.reshape(-1) if constant.size > 1 else np.float32(constant.reshape(-1)[0]))
    _take_over(graph, node, reader)
    return True


def _fuse_activation(graph: Graph, node: Convolution, reader: Operator) -> bool:
    slope = _slope(reader)
    if slope is None or not 0.0 <= slope <= 1.0:
        return False
    if node.residual is not None:
        if node.slope_after != 1.0:
            return False
        node.slope_after = slope
    elif (node.slopes == 1.0).all():
        node.slopes = np.full(len(node.bias), slope, np.float32)
    else:
        return False
    _take_over(graph, node, reader)
    return True


def _slope(activation: Operator) -> float | None:
    """What an activation multiplies negative numbers by; None where channels differ in it."""
    if activation.name == RELU:
        return 0.0
    if activation.name == LEAKY:
        return float(activation.call.attrs.alpha)
    slopes = activation.call.args[1]
    values = set(slopes.value.numpy().reshape(-1).tolist()) if isinstance(slopes, GenericConst) else set()
    return values.pop() if len(values) == 1 else None


def _fuse_residual(graph: Graph, node: Convolution, reader: Operator) -> bool:
    if node.residual is not None or node.depthwise or len(reader.inputs) != 2:
        return False
    other = next(value for value in reader.inputs if value is not node.output)
    factor = 1
    enlarged = _enlarged(graph, other)
    if enlarged is not None:
        other, factor = enlarged
    shape = (
        (*other.shape[:2], other.shape[2] * factor, other.shape[3] * factor) if len(other.shape) == 4 else other.shape
    )
    if shape != node.output.shape:
        return False
    producer = graph.producer(other)
    if producer is not None and graph.nodes.index(producer) > graph.nodes.index(reader):
        return False
    # Of two convolutions that are added, the later one takes the addition.
    if isinstance(producer, Convolution) and factor == 1 and graph.only_reader(other) is reader:
        later = max(producer, node, key=graph.nodes.index)
        if later is not node:
            return False
    node.residual, node.upsample = other, factor
    _take_over(graph, node, reader)
    return True


def _enlarged(graph: Graph, value: Value) -> tuple[Value, int] | None:
    """What a value is a nearest enlargement of, and the factor, if it is one that nobody else reads."""
    producer = graph.producer(value)
    if not isinstance(producer, Elementwise) or producer.name != RESIZE or graph.only_reader(value) is None:
        return None
    source = producer.inputs[0]
    factors = {value.shape[axis] // source.shape[axis] for axis in (2, 3)}
    return (source, factors.pop()) if len(factors) == 1 else None
