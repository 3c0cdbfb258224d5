"""Which channels of which tensors must be scaled alike for the float model to stay the same."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.quantize.graph import ACTIVATIONS, Graph, attributes_of, resize_mode
from facedeploy.quantize.weights import weights_of

Classes = npt.NDArray[np.intp]

UNSCALED = 0  # The class of channels that cannot be scaled at all.

# What commutes with a positive factor of a channel, whatever its attributes.
HOMOGENEOUS = ACTIVATIONS | {"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool"}


def channel_classes(graph: Graph) -> dict[str, Classes]:
    """The class of each channel (C,), for each tensor that a convolution makes or reads, directly or through others.

    Multiplying every channel of a class by one positive number, in all tensors, leaves the model's outputs as they are
    once the convolutions around undo it. A convolution begins new classes; activations, pooling and resizing keep them;
    an addition makes those of its operands one; a concatenation lines them up; UNSCALED are those that the model takes
    or returns, and what any other operator reads or makes.
    """
    union = _Union()
    found: dict[str, Classes] = {}
    for node in graph.nodes:
        operands = graph.activations(node)
        if graph.is_convolution(node):
            weights = weights_of(graph, node)
            found.setdefault(node.input[0], np.full(weights.in_channels, UNSCALED))
            found[node.output[0]] = union.fresh(len(weights.weight))
            continue
        known = [found[name] for name in operands if name in found]
        if known and len(known) == len(operands):
            made = _made_by(node, known, union)
            if made is not None:
                found[node.output[0]] = made
                continue
        for classes in known:
            union.merge(classes, np.full_like(classes, UNSCALED))
    for name in graph.outputs:
        if name in found:
            union.merge(found[name], np.full_like(found[name], UNSCALED))
    return {name: union.roots(classes) for name, classes in found.items()}


def _made_by(node: Any, operands: Sequence[Classes], union: "_Union") -> Classes | None:
    """The classes of a node's output; None if it does not keep the factors of channels."""
    first = operands[0]
    if len(operands) == 1 and (node.op_type in HOMOGENEOUS or resize_mode(node)):
        return first
    if node.op_type == "Concat" and attributes_of(node)["axis"] == 1:
        return np.concatenate(operands)
    if node.op_type == "Add" and len(operands) == 2 and len(first) == len(operands[1]):
        union.merge(*operands)
        return first
    return None


class _Union:
    """Disjoint sets of channels; the lowest member stands for each, so whatever joins UNSCALED becomes UNSCALED."""

    def __init__(self) -> None:
        self._parents = [UNSCALED]

    def fresh(self, count: int) -> Classes:
        """So many new sets."""
        start = len(self._parents)
        self._parents += range(start, start + count)
        return np.arange(start, start + count)

    def merge(self, one: Classes, other: Classes) -> None:
        """Join the sets pair by pair."""
        for left, right in zip(self.roots(one).tolist(), self.roots(other).tolist(), strict=True):
            low, high = sorted((self._root(left), self._root(right)))
            self._parents[high] = low

    def roots(self, members: Classes) -> Classes:
        """Who stands for each."""
        return np.array([self._root(member) for member in members.tolist()], np.intp)

    def _root(self, member: int) -> int:
        while self._parents[member] != member:
            self._parents[member] = self._parents[self._parents[member]]
            member = self._parents[member]
        return member
