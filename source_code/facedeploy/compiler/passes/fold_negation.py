"""The negative of what an integer convolution computes is computed by another convolution, beside it."""

from dataclasses import replace

from facedeploy.compiler.graph.integer_constants import integer_weights
from facedeploy.compiler.graph.nodes import Convolution, Elementwise, Graph

NEGATIVE = "relax.negative"
LEAST = -128  # Of s8, which does not have its negative.
MOST_PRODUCTS = 256  # Of an output: with more of them, reading the outputs again takes less time.


def fold_negation(graph: Graph) -> None:
    """Requires: convolutions have their biases. Ensures: no negation follows one of integers with few products.

    What follows each of the two, CReLU say, can then become part of them, integers included.
    """
    for node in list(graph.nodes):
        if not isinstance(node, Elementwise) or node.name != NEGATIVE:
            continue
        made_by = graph.producer(node.inputs[0])
        if not isinstance(made_by, Convolution) or made_by.weight_scales is None or not made_by.plain:
            continue
        if integer_weights(made_by).min() == LEAST:
            continue
        if made_by.weights[0].size <= MOST_PRODUCTS:
            graph.nodes[graph.nodes.index(node)] = replace(
                made_by, outputs=node.outputs, weights=-made_by.weights, bias=-made_by.bias
            )
