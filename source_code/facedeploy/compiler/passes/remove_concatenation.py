"""A concatenation of channels that only convolutions read is replaced by convolutions with several sources."""

import numpy as np

from facedeploy.compiler.graph.nodes import Convolution, Graph, Operator, Value, whole
from facedeploy.compiler.kernels.blocked.layout import block_of

CONCAT, RELU = "relax.concat", "relax.nn.relu"


def remove_concatenation(graph: Graph) -> None:
    """Requires: epilogues are fused. Ensures: the readers of such a concatenation read its parts.

    A ReLU between it and its readers moves in front of it, into the convolutions that make the parts.
    """
    for node in list(graph.nodes):
        if not isinstance(node, Operator) or node.name != CONCAT or node.call.attrs.axis != 1:
            continue
        parts = [graph.producer(value) for value in node.inputs]
        output = node.outputs[0]
        relu = graph.only_reader(output)
        if isinstance(relu, Operator) and relu.name == RELU and _push_relu(graph, node.inputs):
            output = relu.outputs[0]
        full = all(value.shape[1] % block_of(value.shape[1]) == 0 for value in node.inputs)
        same = len({block_of(value.shape[1]) for value in node.inputs}) == 1
        if full and same and None not in parts and graph.readers(output) and graph.can_read_parts(output):
            graph.replace_source(output, [whole(value) for value in node.inputs])
    graph.remove_dead()


def _push_relu(graph: Graph, values: list[Value]) -> bool:
    """Apply ReLU where the values are made, if each is made by a convolution for this reader alone."""
    producers = [graph.producer(value) for value in values]
    for producer, value in zip(producers, values, strict=True):
        if not isinstance(producer, Convolution) or graph.only_reader(value) is None:
            return False
        if producer.residual is not None and producer.slope_after not in (0.0, 1.0):
            return False
    for producer in producers:
        assert isinstance(producer, Convolution)
        if producer.residual is not None:
            producer.slope_after = 0.0
        else:
            # ReLU of max(x, slope x) is ReLU of x for slopes from 0 to 1.
            producer.slopes = np.zeros_like(producer.slopes)
    return True
