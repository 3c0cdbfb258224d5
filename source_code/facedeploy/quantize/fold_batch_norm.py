"""Batch normalization becomes part of the convolution in front of it."""

from dataclasses import replace
from typing import Any

import numpy as np

from facedeploy.quantize.graph import Graph, attributes_of
from facedeploy.quantize.weights import set_weights, weights_of

EPSILON = 1e-5  # The operator's default.


def fold_batch_norm(model: Any) -> Any:
    """A copy of an onnx.ModelProto in which no convolution of constants is followed by a batch norm of constants alone.

    Ensures: the convolutions keep their order; the tensor behind the batch norm keeps its name.
    """
    from onnx import ModelProto

    folded = ModelProto()
    folded.CopyFrom(model)
    graph = Graph.of(folded)
    for node in graph.nodes:
        if node.op_type != "BatchNormalization" or any(name not in graph.constants for name in node.input[1:]):
            continue
        before = graph.producers.get(node.input[0])
        if before is not None and graph.is_convolution(before) and graph.only_reader(node.input[0]) is node:
            _fold(folded, graph, before, node)
    return folded


def _fold(model: Any, graph: Graph, convolution: Any, norm: Any) -> None:
    gamma, beta, mean, variance = (graph.constants[name].astype(np.float64) for name in norm.input[1:])
    factor = gamma / np.sqrt(variance + attributes_of(norm).get("epsilon", EPSILON))
    scaled = weights_of(graph, convolution).with_outputs_times(factor)
    set_weights(model, convolution, replace(scaled, bias=scaled.bias + beta - mean * factor))
    convolution.output[0] = norm.output[0]
    model.graph.node.remove(norm)
