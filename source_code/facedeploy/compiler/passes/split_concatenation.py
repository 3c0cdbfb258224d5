"""Pooling, activations and quantization of a concatenation of channels become those of its parts; it moves behind."""

from dataclasses import replace

from facedeploy.compiler.graph.nodes import (
    Conversion,
    Convolution,
    Elementwise,
    Graph,
    Node,
    Operator,
    Pooling,
    Value,
)
from facedeploy.compiler.kernels.blocked.layout import block_of
from facedeploy.compiler.passes.remove_concatenation import CONCAT
from facedeploy.quantize.affine import Affine

ByChannel = Pooling | Elementwise | Conversion


def split_concatenation(graph: Graph) -> None:
    """Ensures: only convolutions read a concatenation, if in the end nothing else does, so that it can be removed.

    An activation or a quantization then follows what makes each part, and can join it.
    """
    place = 0
    while place < len(graph.nodes):  # What this makes may stand in front, but concatenations only behind.
        node = graph.nodes[place]
        if isinstance(node, Operator) and node.name == CONCAT and _splits(graph, node):
            distinct = len(set(map(id, node.operands))) == len(node.operands)
            for reader in graph.readers(node.outputs[0]):
                # A part that is there twice may be other integers each time.
                if isinstance(reader, ByChannel) and (distinct or not isinstance(reader, Conversion)):
                    _split(graph, node, reader)
        place += 1
    graph.remove_dead()


def _splits(graph: Graph, node: Operator) -> bool:
    blocks = {block_of(value.shape[1]) for value in node.operands if len(value.shape) == 4}
    whole_blocks = len(blocks) == 1 and all(value.shape[1] % max(blocks) == 0 for value in node.operands)
    channels = sum(value.shape[1] for value in node.operands) if whole_blocks else 0
    known = whole_blocks and node.call.attrs.axis == 1 and channels == node.outputs[0].shape[1]
    return known and _ends_in_convolutions(graph, node.outputs[0])


def _ends_in_convolutions(graph: Graph, value: Value) -> bool:
    """Whether dense convolutions alone read it, or what is computed of it channel by channel."""
    return value not in graph.outputs and all(
        (isinstance(reader, Convolution) and not reader.depthwise)
        or (_is_by_channel(reader) and _ends_in_convolutions(graph, reader.outputs[0]))
        for reader in graph.readers(value)
    )


def _is_by_channel(node: Node) -> bool:
    return isinstance(node, (Pooling, Conversion)) or (
        isinstance(node, Elementwise) and len(node.operands) == 1 and node.channels is None
    )


def _split(graph: Graph, concatenation: Operator, reader: ByChannel) -> None:
    """One node for each part, right behind what makes it; in the reader's place a concatenation of their results."""
    (output,) = reader.outputs
    results: dict[int, Value] = {}
    start = 0
    for part in concatenation.operands:
        channels = slice(start, start + part.shape[1])
        start = channels.stop
        if id(part) in results:
            continue
        batch, _, *sides = output.shape
        result = Value(f"{output.name}.{part.name}", (batch, part.shape[1], *sides), output.dtype)
        if output.affine is not None:
            result.affine = Affine(output.affine.scale[channels], output.affine.zero_point[channels])
        results[id(part)] = result
        producer = graph.producer(part)
        place = graph.nodes.index(producer) + 1 if producer else 0
        graph.nodes.insert(place, _of_part(reader, part, result))
    operands = [results[id(part)] for part in concatenation.operands]
    arguments = {variable: results[id(part)] for variable, part in concatenation.arguments.items()}
    joined = Operator([output], concatenation.call, operands, arguments)
    graph.nodes[graph.nodes.index(reader)] = joined


def _of_part(reader: ByChannel, part: Value, result: Value) -> ByChannel:
    if isinstance(reader, Conversion):
        return replace(reader, outputs=[result], source=part)
    return replace(reader, outputs=[result], operands=[part], arguments=dict.fromkeys(reader.arguments, part))
