"""A concatenation of channels that only convolutions read is replaced by convolutions with several sources."""

import numpy as np

from facedeploy.compiler.graph.nodes import Convolution, Dequantize, Graph, Operator, Quantize, Value, whole
from facedeploy.compiler.kernels.blocked.layout import block_of
from facedeploy.quantize.affine import Affine

CONCAT, RELU = "relax.concat", "relax.nn.relu"


def remove_concatenation(graph: Graph) -> None:
    """Requires: epilogues are fused. Ensures: the readers of such a concatenation read its parts.

    A ReLU between it and its readers moves in front of it, into the convolutions that make the parts; so does a
    quantization, which then makes integers of each part.
    """
    for node in list(graph.nodes):
        if not isinstance(node, Operator) or node.name != CONCAT or node.call.attrs.axis != 1:
            continue
        parts = [graph.producer(value) for value in node.inputs]
        output = node.outputs[0]
        relu = graph.only_reader(output)
        if isinstance(relu, Operator) and relu.name == RELU and _push_relu(graph, node.inputs):
            output = relu.outputs[0]
        values = node.inputs
        pair = _quantization(graph, output)
        if pair is not None:
            output = pair[1].output
        full = all(value.shape[1] % block_of(value.shape[1]) == 0 for value in node.inputs)
        same = len({block_of(value.shape[1]) for value in node.inputs}) == 1
        if full and same and None not in parts and graph.readers(output) and graph.can_read_parts(output):
            if pair is not None:
                values = _quantize_parts(graph, node, pair[0])
            graph.replace_source(output, [whole(value) for value in values])
    graph.remove_dead()


def _quantization(graph: Graph, value: Value) -> tuple[Quantize, Dequantize] | None:
    """What alone reads a value, if that makes integers of it, and what alone reads these."""
    quantize = graph.only_reader(value)
    dequantize = graph.only_reader(quantize.output) if isinstance(quantize, Quantize) else None
    return (quantize, dequantize) if isinstance(quantize, Quantize) and isinstance(dequantize, Dequantize) else None


def _quantize_parts(graph: Graph, concatenation: Operator, quantize: Quantize) -> list[Value]:
    """Make integers of each part, and floats of these: the values of the floats."""
    affine = quantize.output.affine
    assert affine is not None
    results, start, place = [], 0, graph.nodes.index(concatenation)
    for value in concatenation.inputs:
        channels = slice(start, start + value.shape[1])
        start = channels.stop
        name = f"{value.name}.part"
        part = Affine(affine.scale[channels], affine.zero_point[channels])
        integers = Value(f"{name}.quantized", value.shape, quantize.output.dtype, part)
        floats = Value(name, value.shape)
        graph.nodes[place:place] = [Quantize([integers], value), Dequantize([floats], integers)]
        place += 2
        results.append(floats)
    return results


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
