"""What is multiplied with or added to each channel in front of a convolution becomes part of its weights and bias.

So it is the image itself that becomes integers, where a model begins with its normalization.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.quantize.graph import Graph, attributes_of, static_shapes
from facedeploy.quantize.weights import set_weights, weights_of

Float64 = npt.NDArray[np.float64]

FACTORS, SUMMANDS = ("Mul", "Div"), ("Add", "Sub")
INVERSES = ("Div", "Sub")


def fold_scaling(model: Any) -> Any:
    """A copy of an onnx.ModelProto in which no convolution of constants alone reads a tensor times constants.

    Nor one plus constants, if it pads nothing: its padding is of zeros, which a factor keeps and a summand does not.
    The constants are numbers, or one for each channel, and all that is divided by is not 0. Ensures: the convolutions
    keep their order.
    """
    from onnx import ModelProto

    folded = ModelProto()
    folded.CopyFrom(model)
    graph, shapes = Graph.of(folded), static_shapes(folded)
    for node in graph.nodes:
        if graph.is_convolution(node):
            _fold(folded, graph, shapes, node)
    return folded


def _fold(model: Any, graph: Graph, shapes: Mapping[str, tuple[int, ...]], convolution: Any) -> None:
    weights, source, reader = weights_of(graph, convolution), convolution.input[0], convolution
    while graph.only_reader(source) is reader and source in graph.producers:
        producer = graph.producers[source]
        numbers = _numbers(graph, shapes, producer)
        if numbers is None or (producer.op_type in SUMMANDS and _pads(convolution)):
            break
        scaled = weights.with_inputs_times(numbers)
        if producer.op_type in FACTORS:
            weights = scaled
        else:
            weights = replace(weights, bias=weights.bias + scaled.weight.reshape(len(weights.bias), -1).sum(axis=1))
        (source,), reader = graph.activations(producer), producer
        model.graph.node.remove(producer)
    if reader is not convolution:
        set_weights(model, convolution, weights)
        convolution.input[0] = source


def _numbers(graph: Graph, shapes: Mapping[str, tuple[int, ...]], node: Any) -> Float64 | None:
    """What a node multiplies its only source with, or adds to it: (C,); None if it does anything else."""
    sources = graph.activations(node)
    if node.op_type not in FACTORS + SUMMANDS or len(sources) != 1:
        return None
    position = list(node.input).index(sources[0])
    shape = shapes.get(sources[0])
    # (Of the same shape, since a constant may have more channels than what it is added to.)
    if shape is None or shape != shapes.get(node.output[0]) or (node.op_type in INVERSES and position != 0):
        return None
    array = graph.constants[node.input[1 - position]].astype(np.float64)
    sides = (1,) * (len(shape) - array.ndim) + array.shape
    if array.size not in (1, sides[1]) or not np.isfinite(array).all() or (node.op_type == "Div" and not array.all()):
        return None
    numbers = np.broadcast_to(array.reshape(-1), shape[1])
    match node.op_type:
        case "Div":
            return 1 / numbers
        case "Sub":
            return -numbers
    return numbers


def _pads(convolution: Any) -> bool:
    attributes = attributes_of(convolution)
    return any(attributes.get("pads", ())) or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
