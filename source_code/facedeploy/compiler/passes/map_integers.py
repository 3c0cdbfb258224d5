"""Arithmetic and activations between integers read and write them, without tensors of floats in between."""

from dataclasses import replace

from facedeploy.compiler.graph.nodes import Dequantize, Elementwise, Graph, Quantize


def map_integers(graph: Graph) -> None:
    """Requires: convolutions took their epilogues. Ensures: no operator makes floats of integers that become integers.

    That is, of integers alone, and for nothing else.
    """
    for node in list(graph.nodes):
        if not isinstance(node, Elementwise):
            continue
        integers = {
            value: before.source for value in node.operands if isinstance(before := graph.producer(value), Dequantize)
        }
        behind = graph.only_reader(node.outputs[0])
        if isinstance(behind, Quantize) and all(value in integers for value in node.operands):
            graph.nodes[graph.nodes.index(node)] = replace(
                node,
                outputs=behind.outputs,
                operands=[integers[value] for value in node.operands],
                arguments={variable: integers[value] for variable, value in node.arguments.items()},
            )
            graph.nodes.remove(behind)
    graph.remove_dead()
