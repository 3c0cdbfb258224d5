"""Which pooling, resizing and arithmetic runs on blocked tensors, so that convolutions find their sources so."""

from facedeploy.compiler.graph.nodes import (
    Conversion,
    Convolution,
    Dequantize,
    Elementwise,
    Graph,
    Heads,
    Interpolation,
    Node,
    Operator,
    Pooling,
    Quantize,
)

WITH_KERNELS = (Pooling, Elementwise, Interpolation)


def blocked_operators(graph: Graph) -> set[Operator | Conversion]:
    """The nodes with blocked kernels that read a blocked tensor and make one for a reader that wants it so.

    Integers always are blocked; conversions are among the nodes whose floats are, too.
    """
    made: set[int] = set()
    found: set[Operator | Conversion] = set()
    for node in graph.nodes:
        if isinstance(node, (*WITH_KERNELS, Quantize, Dequantize)):
            reads = any(id(value) in made or value.affine is not None for value in node.inputs)
            readers = graph.readers(node.outputs[0])
            if not reads or not any(isinstance(node, Quantize) or _reads_blocked(graph, reader) for reader in readers):
                continue
            found.add(node)
        elif isinstance(node, (Operator, Heads)):
            continue
        made.update(map(id, node.outputs))
    return found


def _reads_blocked(graph: Graph, node: Node) -> bool:
    if isinstance(node, Convolution):
        return not graph.reads_planar(node)
    return not isinstance(node, Operator) or isinstance(node, WITH_KERNELS)
