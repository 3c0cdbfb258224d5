"""Which pooling, resizing and arithmetic runs on blocked tensors, so that convolutions find their sources so."""

from facedeploy.compiler.graph.nodes import (
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


def blocked_operators(graph: Graph) -> set[Operator]:
    """The nodes with blocked kernels that read a blocked tensor and make one for a reader that wants it so."""
    made: set[int] = set()
    found: set[Operator] = set()
    for node in graph.nodes:
        if isinstance(node, WITH_KERNELS):
            reads = any(id(value) in made for value in node.inputs)
            if not reads or not any(_may_read_blocked(reader) for reader in graph.readers(node.outputs[0])):
                continue
            found.add(node)
        elif isinstance(node, (Operator, Heads, Quantize, Dequantize)):
            continue
        made.update(map(id, node.outputs))
    return found


def _may_read_blocked(node: Node) -> bool:
    return not isinstance(node, (Operator, Quantize)) or isinstance(node, WITH_KERNELS)
