"""Where each value lies in memory: its blocked layout, with the halo that its readers need."""

from collections.abc import Callable
from typing import TypeVar

from facedeploy.artifact.manifest import Form
from facedeploy.compiler.graph.nodes import (
    Cascade,
    Conversion,
    Convolution,
    Dequantize,
    Graph,
    Heads,
    IntegerCascade,
    Node,
    Operator,
    Quantize,
    Separable,
    Value,
)
from facedeploy.compiler.kernels.blocked.layout import Blocked, block_of

Number = TypeVar("Number", int, float)


def layouts_of(
    graph: Graph, on_blocks: set[Operator | Conversion], integer_block: Callable[[int], int] = block_of
) -> dict[int, Blocked]:
    """The blocked layout of every value that a blocked kernel reads or writes, with the halo its readers need.

    `integer_block(channels)` is the block of a value of integers.
    """
    halos: dict[int, int] = {}
    values: dict[int, Value] = {}

    def need(value: Value, halo: int) -> None:
        values[id(value)] = value
        halos[id(value)] = max(halo, halos.get(id(value), 0))

    for node in graph.nodes:
        for convolution in _convolutions(node):
            for part in convolution.sources:
                output_hw, source_hw = convolution.output.shape[2:], part.value.shape[2:]
                need(part.value, convolution.window.halo(source_hw, output_hw))  # type: ignore[arg-type]
            need(convolution.output, 0)
            if convolution.residual:
                need(convolution.residual, 0)
        if isinstance(node, Quantize):
            need(node.output, 0)
        if isinstance(node, Dequantize):
            need(node.source, 0)
        if isinstance(node, (Operator, Conversion)) and node in on_blocks:
            for value in [*node.inputs, *node.outputs]:
                need(value, 0)
        if isinstance(node, Heads):
            for level in node.levels:
                for part in level.sources:
                    need(part.value, 0)
    layouts = {}
    for key, value in values.items():
        batch, channels, height, width = value.shape
        block = (block_of if value.affine is None else integer_block)(channels)
        layouts[key] = Blocked(batch, channels, height, width, block, halos[key])
    return layouts


def _convolutions(node: Node) -> list[Convolution]:
    match node:
        case Convolution():
            return [node]
        case Separable():
            return [node.depthwise, node.pointwise]
        case Cascade():
            return [convolution for layer in node.chain for convolution in _convolutions(layer)]
        case IntegerCascade():
            return [convolution for pair in node.chain for convolution in pair]
    return []


def form_of(value: Value, layout: Blocked) -> Form:
    """The record of how a value of this layout is kept."""
    if value.affine is None:
        return Form(layout.channels, layout.halo)
    scale = [float(f"{number:.9g}") for number in value.affine.scale]  # So many digits tell float32 apart.
    return Form(layout.channels, layout.halo, _once(scale), _once(value.affine.zero_point.tolist()))


def _once(numbers: list[Number]) -> tuple[Number, ...]:
    """One for all, where all are the same."""
    return tuple(numbers[:1] if len(set(numbers)) == 1 else numbers)
