"""The heads' convolutions, transpositions, reshapes, concatenation and softmax become one node."""

import numpy as np

from facedeploy.compiler.graph.nodes import Convolution, Graph, HeadLevel, Heads, Operator, Value

CONCAT, RESHAPE, PERMUTE, SOFTMAX = "relax.concat", "relax.reshape", "relax.permute_dims", "relax.nn.softmax"


def fuse_heads(graph: Graph) -> None:
    """Requires: epilogues are fused. Ensures: outputs made of the same levels' pointwise convolutions are one node.

    An output takes part if it is, over levels, a concatenation along axis 1 of convolutions as rows (N, H W A, width),
    with or without a softmax over two classes behind it, and nothing else reads what is in between.
    """
    found: list[tuple[Value, list[Convolution], bool]] = []
    for output in graph.outputs:
        head = _head(graph, output)
        if head is not None and (not found or _same_levels(found[0][1], head[0])):
            found.append((output, *head))
    if not found:
        return
    levels = []
    for level in range(len(found[0][1])):
        convolutions = [head[level] for _, head, _ in found]
        scales = [node.weight_scales for node in convolutions if node.weight_scales is not None]
        levels.append(
            HeadLevel(
                list(convolutions[0].sources),
                np.concatenate([node.weights for node in convolutions]),
                np.concatenate([node.bias for node in convolutions]),
                np.concatenate(scales) if len(scales) == len(convolutions) else None,
            )
        )
    channels = [len(head[0].bias) for _, head, _ in found]
    layers = tuple(layer for _, head, _ in found for node in head for layer in node.layers)
    outputs = [output for output, _, _ in found]
    graph.nodes.append(Heads(outputs, levels, channels, [softmax for *_, softmax in found], layers))
    made = {id(output) for output, _, _ in found}
    graph.nodes = [
        node for node in graph.nodes if isinstance(node, Heads) or not any(id(value) in made for value in node.outputs)
    ]
    graph.remove_dead()


def _operator(graph: Graph, value: Value, name: str) -> Operator | None:
    producer = graph.producer(value)
    return producer if isinstance(producer, Operator) and producer.name == name else None


def _head(graph: Graph, output: Value) -> tuple[list[Convolution], bool] | None:
    """The convolutions of each level, and whether a softmax over two classes follows."""
    softmax = _operator(graph, output, SOFTMAX)
    value = output
    if softmax is not None:
        if output.shape[-1] != 2 or softmax.call.attrs.axis not in (-1, 2):
            return None
        value = softmax.inputs[0]
        if graph.only_reader(value) is None:
            return None
    concatenation = _operator(graph, value, CONCAT)
    if concatenation is None or concatenation.call.attrs.axis != 1 or len(value.shape) != 3:
        return None
    convolutions = []
    for rows in concatenation.inputs:
        convolution = _rows_of(graph, rows)
        if convolution is None:
            return None
        convolutions.append(convolution)
    if len({len(node.bias) for node in convolutions}) != 1 or len(convolutions[0].bias) % value.shape[2]:
        return None
    return convolutions, softmax is not None


def _rows_of(graph: Graph, rows: Value) -> Convolution | None:
    """The pointwise convolution whose pixels, channels last, are these rows."""
    reshape = _operator(graph, rows, RESHAPE)
    if reshape is None or graph.only_reader(rows) is None or len(reshape.inputs) != 1:
        return None
    permuted = reshape.inputs[0]
    permutation = _operator(graph, permuted, PERMUTE)
    if permutation is None or graph.only_reader(permuted) is None:
        return None
    if [int(axis) for axis in permutation.call.attrs.axes] != [0, 2, 3, 1]:
        return None
    convolution = graph.producer(permutation.inputs[0])
    usable = isinstance(convolution, Convolution) and convolution.pointwise and convolution.plain
    if not usable or graph.only_reader(permutation.inputs[0]) is None or rows.shape[0] != permuted.shape[0]:
        return None
    assert isinstance(convolution, Convolution)
    return convolution


def _same_levels(first: list[Convolution], other: list[Convolution]) -> bool:
    return len(first) == len(other) and all(a.sources == b.sources for a, b in zip(first, other, strict=True))
