"""A depthwise convolution and the pointwise one that alone reads it become one node."""

from facedeploy.compiler.graph.nodes import Convolution, Graph, Separable


def fuse_separable(graph: Graph) -> None:
    """Requires: epilogues are fused. Ensures: a depthwise result that one node reads is never stored whole."""
    for node in list(graph.nodes):
        if not isinstance(node, Convolution) or not node.depthwise or node.residual is not None:
            continue
        reader = graph.only_reader(node.output)
        if not isinstance(reader, Convolution) or not reader.pointwise or len(reader.sources) != 1:
            continue
        if len(set(node.slopes.tolist())) != 1 or reader.residual is node.output:
            continue
        if node.integer or reader.integer:
            continue
        graph.nodes[graph.nodes.index(reader)] = Separable(reader.outputs, node, reader)
        graph.nodes.remove(node)
