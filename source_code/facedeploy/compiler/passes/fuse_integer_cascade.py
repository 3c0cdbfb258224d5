"""Dense convolutions of integers and the depthwise ones behind them become one node, which rounds once a pair."""

from facedeploy.compiler.graph.nodes import Convolution, Graph, IntegerCascade, Quantize

# What a result must occupy, bytes, so that passing it on row by row beats storing it, and what the weights of a chain
# may: they are read again for every row.
LEAST_RESULT = 128 * 1024
MOST_WEIGHTS = 64 * 1024

Pair = tuple[Convolution, Convolution]


def fuse_integer_cascade(graph: Graph) -> None:
    """Requires: convolutions use integers where they can. Ensures: no float result of such a pair is stored whole."""
    for node in list(graph.nodes):
        if node not in graph.nodes or not isinstance(node, Convolution):
            continue
        chain: list[Pair] = []
        start: Convolution | None = node
        while start is not None and (pair := _pair(graph, start)) is not None:
            chain.append(pair)
            start = _next(graph, chain)
        if chain:
            graph.nodes[graph.nodes.index(chain[-1][1])] = IntegerCascade(chain[-1][1].outputs, chain)
            for member in [each for pair in chain for each in pair][:-1]:
                graph.nodes.remove(member)


def _pair(graph: Graph, dense: Convolution) -> Pair | None:
    """A dense convolution of integers, and the depthwise one of its floats, which takes over their quantization."""
    depthwise = graph.only_reader(dense.output)
    if not dense.integer or dense.depthwise or dense.residual is not None or len(dense.sources) != 1:
        return None
    if not isinstance(depthwise, Convolution) or not depthwise.depthwise or dense.output.dtype != "float32":
        return None
    if any(len(set(node.slopes.tolist())) != 1 for node in (dense, depthwise)):
        return None
    reader = graph.only_reader(depthwise.output)
    if isinstance(reader, Quantize):
        depthwise.outputs = reader.outputs
        graph.nodes.remove(depthwise)
        graph.nodes[graph.nodes.index(reader)] = depthwise
    return dense, depthwise


def _next(graph: Graph, chain: list[Pair]) -> Convolution | None:
    """The pointwise convolution that alone reads a large result, and may begin the next pair."""
    result = chain[-1][1].output
    reader = graph.only_reader(result)
    if result.dtype == "float32" or not isinstance(reader, Convolution) or not reader.pointwise:
        return None
    _, channels, height, width = result.shape
    weights = sum(dense.weights.size for dense, _ in chain) + reader.weights.size
    return reader if channels * height * width >= LEAST_RESULT and weights <= MOST_WEIGHTS else None
