"""Moments of what each convolution reads, from which follows what rounding its weights does to its outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.quantize.graph import Graph, attributes_of
from facedeploy.quantize.placement import becomes_integer
from facedeploy.quantize.weights import weights_of

Float64 = npt.NDArray[np.float64]
Values = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating[Any]]

PATCHES = 128  # Places of an image, at most, where a convolution's inputs are looked at.
INDISTINCT = 1e-9  # Of the square of a mean: a variance that is less is none.
LARGEST_BLOCK = 576  # Inputs whose covariance is known: 64 channels of a 3x3 kernel. More than that are in blocks.


@dataclass(frozen=True, eq=False)
class Moments:
    """Of what the weights of an output channel are multiplied by: mean (blocks, k), covariance (blocks, k, k).

    The inputs of a group, as its weights lie in memory, are cut into blocks of k, the last filled up with zeros; the
    blocks of all groups follow each other.
    """

    mean: Floats
    covariance: Floats

    def with_inputs_times(self, factor: Float64, groups: int) -> "Moments":
        """The same once inputs, (groups, inputs of a group), are multiplied by their factors."""
        each = in_blocks(factor.reshape(groups, -1))
        return Moments(self.mean * each, self.covariance * each[:, :, None] * each[:, None, :])


def in_blocks(inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(groups, inputs of a group) -> (blocks, k); (..., groups, inputs) -> (..., blocks, k)."""
    *outer, groups, count = inputs.shape
    blocks = -(-count // LARGEST_BLOCK)
    size = -(-count // blocks)
    padded = np.pad(inputs, [(0, 0)] * (inputs.ndim - 1) + [(0, blocks * size - count)])
    return padded.reshape(*outer, groups * blocks, size)


class MomentSums:
    """Adds up what the convolutions that become integer read, at random places of each image, the same ones each time.

    Requires: `fold` made the model, as it makes the one that is quantized.
    """

    def __init__(self, model: Any) -> None:
        graph = Graph.of(model)
        nodes = [node for node in graph.nodes if node.op_type == "Conv"]
        self._windows = {
            index: _Window.of(graph, node) for index, node in enumerate(nodes) if becomes_integer(graph, node)
        }
        self._sums: dict[int, tuple[Float64, Float64]] = {}
        self._count = 0

    def add(self, tensors: Mapping[str, Values]) -> None:
        """Tensors (N, C, H, W) of the next images, by name."""
        images = len(next(iter(tensors.values())))
        for image in range(images):
            for index, window in self._windows.items():
                places = np.random.default_rng([self._count + image, index])
                patches = window.patches(tensors[window.source][image], places).astype(np.float64)
                by_block = in_blocks(patches).transpose(1, 0, 2)
                first, second = by_block.mean(axis=1), by_block.transpose(0, 2, 1) @ by_block / PATCHES
                before = self._sums.get(index, (0.0, 0.0))
                self._sums[index] = (before[0] + first, before[1] + second)
        self._count += images

    def moments(self) -> dict[int, Moments]:
        """Those of each convolution that becomes integer, by its index in graph order."""
        return {
            index: _central(first / self._count, second / self._count) for index, (first, second) in self._sums.items()
        }


def _central(mean: Float64, second: Float64) -> Moments:
    covariance = second - mean[:, :, None] * mean[:, None, :]
    # Of inputs that hardly change, the difference is no more than rounding.
    covariance += (INDISTINCT * mean**2)[:, :, None] * np.eye(mean.shape[1])
    # Half the bytes for the cache, and what is read from there is what was there at first.
    return Moments(mean.astype(np.float32), covariance.astype(np.float32))


@dataclass(frozen=True)
class _Window:
    """A convolution's: height before width; `before` and `after` are its padding."""

    source: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]
    groups: int

    @classmethod
    def of(cls, graph: Graph, node: Any) -> "_Window":
        attributes = attributes_of(node)
        kernel = weights_of(graph, node).weight.shape[2:]
        top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
        pair = (1, 1)
        return cls(
            node.input[0],
            (kernel[0], kernel[1]),
            tuple(attributes.get("strides", pair)),
            tuple(attributes.get("dilations", pair)),
            (top, left),
            (bottom, right),
            attributes.get("group", 1),
        )

    def patches(self, image: Values, places: np.random.Generator) -> Values:
        """What a few outputs of an image (C, H, W) are made of: (places, groups, inputs of a group)."""
        padding = [(0, 0), *zip(self.before, self.after, strict=True)]
        padded = np.pad(image, padding)
        taps = [np.arange(size) * step for size, step in zip(self.kernel, self.dilation, strict=True)]
        counts = [
            (side - tap[-1] - 1) // stride + 1
            for side, tap, stride in zip(padded.shape[1:], taps, self.stride, strict=True)
        ]
        rows, columns = (
            places.integers(0, count, PATCHES) * stride for count, stride in zip(counts, self.stride, strict=True)
        )
        found = padded[:, (rows[:, None] + taps[0])[:, :, None], (columns[:, None] + taps[1])[:, None, :]]
        return np.moveaxis(found, 1, 0).reshape(PATCHES, self.groups, -1)
