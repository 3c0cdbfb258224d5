"""Convolutions that read dequantized integers read the integers, and yield those that are made of their results."""

from collections.abc import Sequence

from facedeploy.compiler.graph.nodes import Convolution, Dequantize, Graph, HeadLevel, Heads, Part, Quantize, Value


def use_integers(graph: Graph) -> None:
    """Requires: epilogues are fused, concatenations removed. Ensures: no convolution reads floats made of integers.

    Those do compute with the integers whose weights are integers times one scale an output channel, if all channels
    that they sum have one scale. Any other reads floats as before.
    """
    for node in list(graph.nodes):
        if isinstance(node, Convolution):
            integers = _integers(graph, node.sources, node)
            if integers is not None:
                node.sources[:] = integers
                _use_residual(graph, node)
                _yield_integers(graph, node)
        elif isinstance(node, Heads):
            levels = [_integers(graph, level.sources, level) for level in node.levels]
            for level, found in zip(node.levels, levels, strict=True):
                if found is not None and None not in levels:
                    level.sources[:] = found
    graph.remove_dead()


def _integers(graph: Graph, sources: Sequence[Part], node: Convolution | HeadLevel) -> list[Part] | None:
    """The same parts of the integers that the sources were made of, if the node can sum their products."""
    made = [_dequantized(graph, part.value) for part in sources]
    if node.weight_scales is None or None in made:
        return None
    parts = [Part(value, part.first, part.channels) for value, part in zip(made, sources, strict=True) if value]
    scales = {
        scale
        for part in parts
        if part.value.affine is not None
        for scale in part.value.affine.scale[part.first : part.first + part.channels].tolist()
    }
    depthwise = isinstance(node, Convolution) and node.depthwise
    return parts if depthwise or len(scales) == 1 else None


def _dequantized(graph: Graph, value: Value) -> Value | None:
    producer = graph.producer(value)
    return producer.source if isinstance(producer, Dequantize) else None


def _use_residual(graph: Graph, node: Convolution) -> None:
    integers = _dequantized(graph, node.residual) if node.residual else None
    node.residual = integers or node.residual


def _yield_integers(graph: Graph, node: Convolution) -> None:
    """Take the place of the quantization that alone reads the result."""
    reader = graph.only_reader(node.output)
    if isinstance(reader, Quantize):
        node.outputs = reader.outputs
        graph.nodes.remove(node)
        graph.nodes[graph.nodes.index(reader)] = node
