"""Scales of channels move from activations into the weights around them, and the float model stays the same.

Source: M. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction (ICCV 2019); here the
factors make the ranges of activations equal, not those of weights.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.quantize.graph import Graph
from facedeploy.quantize.scale_classes import UNSCALED, channel_classes
from facedeploy.quantize.weights import set_weights, weights_of

Float64 = npt.NDArray[np.float64]

# Of a tensor's widest channel: one that is narrower counts as so wide, so that float32 holds the weights. It is no more
# than that: from 1/16 up, images held out of calibration have boxes and landmarks moved further (net with LeakyReLU).
NARROWEST = 2.0**-16


def channel_factors(graph: Graph, spans: Mapping[str, Float64]) -> dict[str, Float64]:
    """What to divide each channel (C,) of tensors by, so that their `spans` become alike; 1 where it must stay.

    `spans` are high - low (C,) of tensors that become integers. Where channels of several of these can only be scaled
    together, the factor is the geometric mean of what each would want. A channel that is always 0 counts as the widest,
    one below NARROWEST as that.
    """
    classes = channel_classes(graph)
    count = 1 + max((int(ids.max()) for ids in classes.values()), default=UNSCALED)
    wanted, times = np.zeros(count), np.zeros(count)
    for tensor, span in spans.items():
        if tensor not in classes:
            continue
        widest = span.max() or 1.0
        logarithm = np.log(np.where(span > 0, np.maximum(span, NARROWEST * widest), widest))
        np.add.at(wanted, classes[tensor], logarithm - logarithm.mean())
        np.add.at(times, classes[tensor], 1)
    wanted[UNSCALED] = 0
    factors = np.exp(wanted / np.maximum(times, 1))
    return {tensor: np.ones(len(span)) for tensor, span in spans.items()} | {
        tensor: factors[ids] for tensor, ids in classes.items()
    }


def equalize(model: Any, factors: Mapping[str, Float64]) -> Any:
    """A copy of an onnx.ModelProto that computes the same, its tensors divided by their factors (C,) on the way.

    Each convolution of constants has its outputs divided by the factor of the tensor it makes, its inputs multiplied
    by that of the tensor it reads.
    """
    from onnx import ModelProto

    scaled = ModelProto()
    scaled.CopyFrom(model)
    graph = Graph.of(scaled)
    for node in graph.nodes:
        if graph.is_convolution(node):
            weights = weights_of(graph, node).with_inputs_times(factors[node.input[0]])
            set_weights(scaled, node, weights.with_outputs_times(1 / factors[node.output[0]]))
    return scaled
