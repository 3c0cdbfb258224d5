"""A pointwise convolution moves in front of the average pooling that it reads, where that leaves fewer channels."""

import numpy as np

from facedeploy.compiler.graph.nodes import Convolution, Graph, Pooling, Value, whole
from facedeploy.compiler.kernels.blocked.direct import Window
from facedeploy.compiler.kernels.blocked.pooling import AVERAGE_PADDED


def swap_pooling(graph: Graph) -> None:
    """Ensures: no pointwise convolution that makes fewer channels alone reads averages of stride 1 that count padding.

    Both are linear, and commute where zeros of the padding count. The averages are a depthwise convolution then, which
    takes the bias and what follows it.
    """
    for node in list(graph.nodes):
        if not isinstance(node, Pooling) or node.kind != AVERAGE_PADDED or node.window.stride != (1, 1):
            continue
        reader = graph.only_reader(node.outputs[0])
        if not isinstance(reader, Convolution) or not reader.pointwise or not reader.plain:
            continue
        source, channels = node.inputs[0], len(reader.bias)
        if channels < source.shape[1]:
            _swap(graph, node, reader)


def _swap(graph: Graph, pooling: Pooling, reader: Convolution) -> None:
    source, channels, window = pooling.inputs[0], len(reader.bias), pooling.window
    few = Value(f"{reader.output.name}.unpooled", (source.shape[0], channels, *source.shape[2:]))
    zeros = np.zeros(channels, np.float32)
    point = Convolution([few], [whole(source)], reader.weights, zeros, Window((1, 1)), layers=reader.layers)
    shares = np.full((channels, 1, *window.kernel), 1 / (window.kernel[0] * window.kernel[1]), np.float32)
    averages = Convolution(reader.outputs, [whole(few)], shares, reader.bias, window, depthwise=True)
    graph.nodes.remove(pooling)
    place = graph.nodes.index(reader)
    graph.nodes[place : place + 1] = [point, averages]
