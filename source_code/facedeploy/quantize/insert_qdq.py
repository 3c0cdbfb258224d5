"""Ranges become QuantizeLinear and DequantizeLinear nodes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from facedeploy.config.build_config import QuantizeOptions
from facedeploy.core.errors import CompileError
from facedeploy.core.normalization import Normalization
from facedeploy.quantize.affine import Affine, Float64, affine_of, affine_of_pixels, weight_scale
from facedeploy.quantize.calibration import Calibration
from facedeploy.quantize.equalize import channel_factors, equalize
from facedeploy.quantize.factors_record import record_factors
from facedeploy.quantize.fold import fold
from facedeploy.quantize.graph import Array, Graph
from facedeploy.quantize.layers import convolution_names, selected_layers
from facedeploy.quantize.placement import becomes_integer, carried_from, quantized_tensors, with_one_zero_point
from facedeploy.quantize.round_weights import round_weights
from facedeploy.quantize.weights import add_constant, set_weights, weights_of

OPSET = 13  # The first whose QuantizeLinear takes an axis.
SKIP_KEY = "backend.quantize.skip_conv_layers"


def insert_qdq(
    model: Any, calibration: Calibration, options: QuantizeOptions, normalization: Normalization | None = None
) -> Any:
    """A float onnx.ModelProto -> one that computes almost the same through integers, written as QDQ.

    Weights are s8 with a scale for each output channel, rounded as `round_weights` does; biases stay float32. Depthwise
    convolutions stay float: see `quantized_tensors`. Activations are u8 with one scale a tensor
    and, where they differ and `with_one_zero_point` allows it, a zero point for each channel (axis 1), behind an exact
    equalization of the channels.
    Without `quantize_per_channel`, weights and activations have one scale and zero point a tensor, and nothing is
    equalized. Which tensors become integers: `quantized_tensors`; all that read one read its integers. `normalization`
    says what u8 pixels become the model's input by: the integers of the input are these pixels then, where the mean is
    a whole number of steps. Raises ConfigError for a skipped layer that the model lacks, CompileError for a model that
    cannot hold QDQ, ValueError when `calibration` is of another model or other options.
    """
    check_float(model)
    skipped = selected_layers(convolution_names(model), options.skip_conv_layers, SKIP_KEY)
    model = fold(model)
    graph = Graph.of(model)
    tensors = quantized_tensors(graph, skipped)
    bounds = {name: _bounds(graph, name, calibration) for name in tensors}
    alike = with_one_zero_point(graph, tensors)
    factors: dict[str, Float64] = {}
    if options.quantize_per_channel:
        spans = {
            name: np.maximum(-low, high) if name in alike else high - low
            for name, (low, high) in bounds.items()
            if carried_from(graph, name) not in tensors
        }
        factors = channel_factors(graph, spans)
        model = equalize(model, factors)
        record_factors(model, factors)
        # A tensor that is picked from one which cannot be scaled may have no factor of its own.
        bounds = {
            name: (low / factors.get(name, 1.0), high / factors.get(name, 1.0)) for name, (low, high) in bounds.items()
        }
    for name in alike:
        low, high = bounds[name]
        bounds[name] = np.full_like(low, low.min()), np.full_like(high, high.max())
    affines = {name: affine_of(*bounds[name]) for name in tensors}
    for entry in graph.inputs:
        if normalization and entry.name in affines and entry.name not in alike:
            affines[entry.name] = affine_of_pixels(normalization)
    for name in tensors:  # In the order they are made, so that a source is there before what is picked from it.
        affines[name] = affines.get(carried_from(graph, name) or name, affines[name])
    _quantize_weights(model, skipped, options.quantize_per_channel, calibration, factors)
    _quantize_activations(model, affines)
    return model


def check_float(model: Any) -> None:
    """Raise CompileError unless a model is one to be quantized: float, and of an opset that has QDQ for channels."""
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < OPSET:
        raise CompileError(
            f"backend.dtype: int8 needs a model of opset {OPSET} or newer, got {opset}: export it with a newer one"
        )
    if is_quantized(model):
        raise CompileError("frontend.checkpoint: the model is quantized already, expected a float one to calibrate")


def is_quantized(model: Any) -> bool:
    """Whether an onnx.ModelProto says where integers are."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def _bounds(graph: Graph, tensor: str, calibration: Calibration) -> tuple[Float64, Float64]:
    """Low and high (C,) of a tensor, or of what its values are picked from."""
    source = carried_from(graph, tensor)
    if source is not None:
        return _bounds(graph, source, calibration)
    if tensor not in calibration.ranges:
        raise ValueError(f"the ranges are of another model: they have none of {tensor}")
    found = calibration.ranges[tensor]
    return np.array(found.low), np.array(found.high)


def _quantize_weights(
    model: Any, skipped: frozenset[int], per_channel: bool, calibration: Calibration, factors: Mapping[str, Float64]
) -> None:
    """Put the weights of every convolution that becomes integer behind a DequantizeLinear.

    `factors` (C,) are what tensors were divided by since the calibration.
    """
    from onnx import helper

    graph = Graph.of(model)
    nodes = list[Any]()
    convolution = -1
    integer = [becomes_integer(graph, node) for node in graph.nodes]  # Before any is changed.
    for node, wanted in zip(graph.nodes, integer, strict=True):
        convolution += node.op_type == "Conv"
        if wanted and convolution not in skipped:
            weights = weights_of(graph, node)
            scale = weight_scale(weights.weight, per_channel)
            if convolution not in calibration.moments:
                raise ValueError(f"the moments are of another model: they have none of convolution {convolution}")
            moments = calibration.moments[convolution]
            if node.input[0] in factors:
                moments = moments.with_inputs_times(weights.by_input(1 / factors[node.input[0]]), weights.groups)
            quantized, shift = round_weights(weights.weight, scale, moments, weights.groups)
            set_weights(model, node, replace(weights, bias=weights.bias + shift))
            name = node.input[1]
            inputs = _constants(model, name, quantized=quantized, scale=scale, zero_point=np.zeros_like(scale, np.int8))
            axis = {"axis": 0} if scale.ndim else {}
            node.input[1] = f"{name}.dequantized"
            nodes.append(helper.make_node("DequantizeLinear", inputs, [node.input[1]], f"{name}.dequantize", **axis))
        nodes.append(node)
    _replace_nodes(model, nodes)


def _quantize_activations(model: Any, affines: Mapping[str, Affine]) -> None:
    """Put QuantizeLinear and DequantizeLinear between each tensor and all that read it."""
    nodes = [pair for entry in model.graph.input for pair in _pair(model, entry.name, affines)]
    for node in list(model.graph.node):
        for position, name in enumerate(node.input):
            if name in affines:
                node.input[position] = _dequantized(name)
        nodes.append(node)
        nodes += [pair for name in node.output for pair in _pair(model, name, affines)]
    _replace_nodes(model, nodes)


def _pair(model: Any, tensor: str, affines: Mapping[str, Affine]) -> list[Any]:
    """The two nodes behind a tensor that becomes integers, none behind another."""
    from onnx import helper

    if tensor not in affines:
        return []
    affine = affines[tensor].simplified()
    axis = {"axis": 1} if affine.scale.ndim else {}
    parameters = _constants(model, tensor, scale=affine.scale, zero_point=affine.zero_point)
    quantized = f"{tensor}.quantized"
    return [
        helper.make_node("QuantizeLinear", [tensor, *parameters], [quantized], f"{tensor}.quantize", **axis),
        helper.make_node(
            "DequantizeLinear", [quantized, *parameters], [_dequantized(tensor)], f"{tensor}.dequantize", **axis
        ),
    ]


def _dequantized(tensor: str) -> str:
    return f"{tensor}.dequantized"


def _constants(model: Any, name: str, **parts: Array) -> list[str]:
    return [add_constant(model, f"{name}.{part}", array) for part, array in parts.items()]


def _replace_nodes(model: Any, nodes: list[Any]) -> None:
    """Give the graph these nodes; constants that none of them reads are dropped."""
    graph = model.graph
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    read = {name for node in copies for name in node.input} | {entry.name for entry in graph.output}
    kept = [entry for entry in graph.initializer if entry.name in read]
    copied = [type(entry).FromString(entry.SerializeToString()) for entry in kept]
    del graph.initializer[:]
    graph.initializer.extend(copied)
