"""Which tensors of a model become integers."""

from collections.abc import Collection
from typing import Any

from facedeploy.quantize.graph import ACTIVATIONS, Graph, resize_mode
from facedeploy.quantize.weights import weights_of


def observed_tensors(graph: Graph) -> tuple[str, ...]:
    """Every tensor that may become integers, whichever layers are skipped, in the order they are made."""
    return _placed(graph, set(), with_fused=True)


def quantized_tensors(graph: Graph, skipped: Collection[int] = ()) -> tuple[str, ...]:
    """The tensors that become integers, in the order they are made; `skipped` are indices of convolutions.

    They are what is stored between integer kernels: the input of each convolution that becomes integer and is not
    skipped, which is an activation's output and not the convolution's in front of it; and of an addition that leads to
    such an input, the operands that are not computed in the same kernel. That kernel is the last convolution among the
    operands, and what the others hold is read where it is stored: before it is resized, say. The outputs of the last
    convolutions stay float. Each is among the `observed_tensors`.
    """
    return _placed(graph, skipped, with_fused=False)


def _placed(graph: Graph, skipped: Collection[int], with_fused: bool) -> tuple[str, ...]:
    convolutions = enumerate(node for node in graph.nodes if node.op_type == "Conv")
    found = {node.input[0] for index, node in convolutions if index not in skipped and becomes_integer(graph, node)}
    for node in reversed(graph.nodes):  # What is found for a node says what its operands are for.
        operands = graph.activations(node)
        if node.op_type == "Add" and len(operands) > 1 and _leads_to(graph, node, found):
            stored = [_stored_behind(graph, name) for name in operands]
            fused = _in_order(graph, {name for name in operands if _is_fused(graph, name, found)})
            found.update(name for name in stored if with_fused or name not in fused[-1:])
        elif carries(node) and node.output[0] in found:
            found.add(node.input[0])
    return _in_order(graph, found)


def becomes_integer(graph: Graph, node: Any) -> bool:
    """Whether a node is a convolution of constants that gains by integers.

    All but a depthwise one that alone reads what a dense one makes, perhaps through activations. It has few products to
    speed up, and in float it follows that one in the same kernel without a rounding in between, which costs time and
    most of the accuracy that int8 loses on nets of such pairs.
    """
    return graph.is_convolution(node) and not (_is_depthwise(graph, node) and _follows_dense(graph, node.input[0]))


def _is_depthwise(graph: Graph, node: Any) -> bool:
    weights = weights_of(graph, node)
    return weights.groups > 1 and weights.weight.shape[1] == 1


def _follows_dense(graph: Graph, tensor: str) -> bool:
    while graph.only_reader(tensor) is not None and tensor in graph.producers:
        node = graph.producers[tensor]
        if node.op_type not in ACTIVATIONS:
            return graph.is_convolution(node) and not _is_depthwise(graph, node)
        tensor = node.input[0]
    return False


def carries(node: Any) -> bool:
    """Whether a node only picks among the values it reads: integers then keep their scale and zero point."""
    return bool(node.op_type == "MaxPool") or resize_mode(node) == b"nearest"


def carried_from(graph: Graph, tensor: str) -> str | None:
    """The tensor that a node picks this one's values from, if one does."""
    producer = graph.producers.get(tensor)
    return producer.input[0] if producer is not None and carries(producer) else None


def with_one_zero_point(graph: Graph, tensors: Collection[str]) -> frozenset[str]:
    """Those of the quantized `tensors` whose channels must share a zero point.

    An operator between integers alone, such as a convolution that no activation follows, becomes one on integers in
    other runtimes, and these take one zero point a tensor: onnxruntime refuses a model that says otherwise. What only
    picks among values keeps those of its source.
    """
    found = set[str]()
    for node in graph.nodes:
        around = {*graph.activations(node), *node.output}
        if len(around) > 1 and around <= set(tensors) and not carries(node):
            found |= around
    sources = {_stored_behind(graph, name) for name in found}
    return frozenset(name for name in tensors if _stored_behind(graph, name) in sources)


def _stored_behind(graph: Graph, tensor: str) -> str:
    source = carried_from(graph, tensor)
    return tensor if source is None else _stored_behind(graph, source)


def _leads_to(graph: Graph, node: Any, found: Collection[str]) -> bool:
    """Whether an output, or what activations alone make of it, is found."""
    tensor = node.output[0]
    while tensor not in found:
        reader = graph.only_reader(tensor)
        if reader is None or reader.op_type not in ACTIVATIONS:
            return False
        tensor = reader.output[0]
    return True


def _is_fused(graph: Graph, tensor: str, found: Collection[str]) -> bool:
    """Whether one reader takes what a convolution computes, perhaps through an activation."""
    while tensor not in found and graph.only_reader(tensor) is not None and tensor in graph.producers:
        node = graph.producers[tensor]
        if node.op_type == "Conv":
            return True
        if node.op_type not in ACTIVATIONS:
            return False
        tensor = node.input[0]
    return False


def _in_order(graph: Graph, names: Collection[str]) -> tuple[str, ...]:
    made = [entry.name for entry in graph.inputs] + [name for node in graph.nodes for name in node.output]
    return tuple(name for name in made if name in names)
