"""Convolutions of one input with one window become one, whose output its readers read in parts."""

import numpy as np

from facedeploy.compiler.graph.nodes import Convolution, Graph, Part, Value
from facedeploy.compiler.kernels.blocked.layout import LANES


def merge_parallel(graph: Graph) -> None:
    """Requires: epilogues are fused, concatenations removed. Ensures: each such group reads its input once.

    Only whole blocks are merged, and only where every reader can read a part.
    """
    for node in list(graph.nodes):
        if node not in graph.nodes or not isinstance(node, Convolution) or not _mergeable(graph, node):
            continue
        group = [
            other
            for other in graph.nodes
            if isinstance(other, Convolution)
            and other.sources == node.sources
            and other.window == node.window
            and _mergeable(graph, other)
        ]
        if len(group) > 1:
            _merge(graph, group)


def _mergeable(graph: Graph, node: Convolution) -> bool:
    if node.depthwise or node.integer or node.residual is not None or node.output in graph.outputs:
        return False
    if len(node.bias) % LANES:
        return False
    return graph.can_read_parts(node.output)


def _merge(graph: Graph, group: list[Convolution]) -> None:
    first = group[0]
    channels = sum(len(node.bias) for node in group)
    batch, _, height, width = first.output.shape
    output = Value("+".join(node.output.name for node in group), (batch, channels, height, width))
    merged = Convolution(
        [output],
        list(first.sources),
        np.concatenate([node.weights for node in group]),
        np.concatenate([node.bias for node in group]),
        first.window,
        slopes=np.concatenate([node.slopes for node in group]),
        layers=tuple(layer for node in group for layer in node.layers),
    )
    start = 0
    for node in group:
        graph.replace_source(node.output, [Part(output, start, len(node.bias))])
        start += len(node.bias)
    # All of them can run where the first does, since they read the same.
    graph.nodes[graph.nodes.index(first)] = merged
    for node in group[1:]:
        graph.nodes.remove(node)
