"""The constants of a convolution, read as numbers, and written back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.quantize.graph import Array, Graph, attributes_of

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Weights:
    """weight (O, I / groups, kh, kw), bias (O,): float64, since several exact rewrites follow each other."""

    weight: Float64
    bias: Float64
    groups: int = 1

    @property
    def in_channels(self) -> int:
        """Channels of the tensor that the convolution reads."""
        return int(self.weight.shape[1]) * self.groups

    def with_outputs_times(self, factor: Float64) -> "Weights":
        """The convolution whose output channels are `factor` (O,) times as large."""
        over_outputs = factor.reshape(-1, *[1] * (self.weight.ndim - 1))
        return Weights(self.weight * over_outputs, self.bias * factor, self.groups)

    def with_inputs_times(self, factor: Float64) -> "Weights":
        """The convolution that multiplies its input channels by `factor` (I,) first."""
        by_output = np.repeat(self.by_input(factor), len(self.weight) // self.groups, axis=0)
        return Weights(self.weight * by_output.reshape(self.weight.shape), self.bias, self.groups)

    def by_input(self, factor: Float64) -> Float64:
        """A factor (I,) of input channels for each input of an output, (groups, inputs of a group)."""
        kernel_size = int(np.prod(self.weight.shape[2:]))
        return np.repeat(factor.reshape(self.groups, -1), kernel_size, axis=1)


def weights_of(graph: Graph, convolution: Any) -> Weights:
    """What a convolution of constants computes with; a bias of zeros if it has none."""
    weight = graph.constants[convolution.input[1]].astype(np.float64)
    has_bias = len(convolution.input) > 2 and convolution.input[2]
    bias = graph.constants[convolution.input[2]].astype(np.float64) if has_bias else np.zeros(len(weight))
    return Weights(weight, bias, attributes_of(convolution).get("group", 1))


def set_weights(model: Any, convolution: Any, weights: Weights) -> None:
    """Give a convolution of `model` new float32 constants, its own: those it had may have other readers."""
    names = list(convolution.input[1:]) or [f"{convolution.output[0]}.weight"]
    names = names if len(names) > 1 and names[1] else [names[0], f"{convolution.output[0]}.bias"]
    del convolution.input[1:]
    for name, array in zip(names, (weights.weight, weights.bias), strict=True):
        convolution.input.append(add_constant(model, name, array.astype(np.float32)))


def add_constant(model: Any, name: str, array: Array) -> str:
    """Add an initializer; the name it got, which is `name` unless something reads another tensor of that name."""
    from onnx import numpy_helper

    graph = model.graph
    free = name
    while _is_taken(graph, free):
        free += "_"
    for entry in [entry for entry in graph.initializer if entry.name == free]:
        graph.initializer.remove(entry)
    graph.initializer.append(numpy_helper.from_array(np.asarray(array, order="C"), free))
    return free


def _is_taken(graph: Any, name: str) -> bool:
    made = any(name in node.output or name in node.input for node in graph.node)
    return made or any(entry.name == name for entry in graph.input)
