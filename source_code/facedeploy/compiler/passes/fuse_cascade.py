"""A first layer and the separable convolutions behind it become one node, whose inner results stay in the cache."""

from facedeploy.compiler.graph.nodes import Cascade, Convolution, Graph, Separable

# What a result must occupy, bytes, so that passing it on row by row beats storing it, and what the weights of a chain
# may: they are read again for every row.
LEAST_RESULT = 256 * 1024
MOST_WEIGHTS = 256 * 1024


def fuse_cascade(graph: Graph) -> None:
    """Requires: separable convolutions are fused. Ensures: no such chain of them stores a large inner result."""
    for node in list(graph.nodes):
        if node not in graph.nodes or not _starts(graph, node):
            continue
        assert isinstance(node, Convolution | Separable)
        layers = [node]
        while (reader := _next(graph, layers)) is not None:
            layers.append(reader)
        if len(layers) > 1:
            graph.nodes[graph.nodes.index(layers[-1])] = Cascade(layers[-1].outputs, layers)
            for layer in layers[:-1]:
                graph.nodes.remove(layer)


def _starts(graph: Graph, node: object) -> bool:
    if isinstance(node, Convolution):
        return graph.reads_planar(node)
    return isinstance(node, Separable) and node.pointwise.residual is None


def _next(graph: Graph, layers: list[Convolution | Separable]) -> Separable | None:
    result = layers[-1].outputs[0]
    reader = graph.only_reader(result)
    if not isinstance(reader, Separable) or reader.pointwise.residual is not None:
        return None
    _, channels, height, width = result.shape
    weights = sum(layer.pointwise.weights.nbytes for layer in [*layers, reader] if isinstance(layer, Separable))
    return reader if channels * height * width * 4 >= LEAST_RESULT and weights <= MOST_WEIGHTS else None
