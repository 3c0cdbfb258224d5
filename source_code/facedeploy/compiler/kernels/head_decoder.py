"""What each kind of head encodes, as TIR expressions; `detect.priors` and `detect.decode` say the same in numpy."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm.script import tirx as T

from facedeploy.core.anchor_spec import AnchorSpec
from facedeploy.core.head_spec import HeadSpec
from facedeploy.core.level import Leveled
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.core.receptive_field_spec import ReceptiveFieldSpec

Numbers = tuple[Any, ...]


@dataclass(frozen=True)
class Decoder(ABC):
    """Expressions for a canvas of (height, width) px."""

    canvas_hw: tuple[int, int]

    @abstractmethod
    def prior(self, index: Any) -> Numbers:
        """What is known of the prior with this index."""

    @abstractmethod
    def box(self, prior: Numbers, loc: Sequence[Any]) -> Numbers:
        """x1 y1 x2 y2, px, of four encoded numbers."""

    @abstractmethod
    def point(self, prior: Numbers, x: Any, y: Any) -> Numbers:
        """X y, px, of an encoded landmark."""


@dataclass(frozen=True)
class PriorDecoder(Decoder):
    """Centers and sizes relative to priors, which are shares of the canvas."""

    spec: PriorSpec

    def prior(self, index: Any) -> Numbers:
        """cx, cy, w, h as shares of the canvas, rounded from float64 as `detect.priors` does."""
        height, width = self.canvas_hw

        def at(level: int, column: Any, row: Any, which: Any) -> Numbers:
            stride = T.float64(self.spec.strides[level])
            x, y = ((T.Cast("float64", place) + T.float64(self.spec.offset)) * stride for place in (column, row))
            sizes = [self.spec.size_wh(size, self.canvas_hw) for size in self.spec.min_sizes[level]]
            w, h = (_pick(which, [T.float64(size[axis]) for size in sizes]) for axis in range(2))
            return x / T.float64(width), y / T.float64(height), w, h

        shares = _on_level(self.spec, self.canvas_hw, index, at)
        if self.spec.clip:
            shares = tuple(T.min(share, T.float64(1)) for share in shares)
        return tuple(T.Cast("float32", share) for share in shares)

    def box(self, prior: Numbers, loc: Sequence[Any]) -> Numbers:
        """As Pytorch_Retinaface decodes."""
        cx, cy, w, h = prior
        canvas_h, canvas_w = (T.float32(side) for side in self.canvas_hw)
        of_center, of_size = (T.float32(float(np.float32(value))) for value in self.spec.variances)
        box_w, box_h = w * T.exp(loc[2] * of_size), h * T.exp(loc[3] * of_size)
        x1 = cx + loc[0] * of_center * w - box_w / T.float32(2)
        y1 = cy + loc[1] * of_center * h - box_h / T.float32(2)
        return x1 * canvas_w, y1 * canvas_h, (x1 + box_w) * canvas_w, (y1 + box_h) * canvas_h

    def point(self, prior: Numbers, x: Any, y: Any) -> Numbers:
        """As Pytorch_Retinaface decodes."""
        cx, cy, w, h = prior
        canvas_h, canvas_w = (T.float32(side) for side in self.canvas_hw)
        of_center = T.float32(float(np.float32(self.spec.variances[0])))
        return (x * of_center * w + cx) * canvas_w, (y * of_center * h + cy) * canvas_h


@dataclass(frozen=True)
class AnchorDecoder(Decoder):
    """Centers and sizes relative to square anchors."""

    spec: AnchorSpec

    def prior(self, index: Any) -> Numbers:
        """cx, cy, side px."""
        middle = T.float32((self.spec.base_size - 1) / 2)

        def at(level: int, column: Any, row: Any, which: Any) -> Numbers:
            stride = self.spec.strides[level]
            sides = [T.float32(self.spec.base_size * scale) for scale in self.spec.scales[level]]
            x, y = (T.Cast("float32", place * stride) + middle for place in (column, row))
            return x, y, _pick(which, sides)

        return _on_level(self.spec, self.canvas_hw, index, at)

    def box(self, prior: Numbers, loc: Sequence[Any]) -> Numbers:
        """As InsightFace decodes: a box from 0 to 15 is 16 px wide."""
        cx, cy, side = prior
        half_w, half_h = ((T.exp(size) * side - T.float32(1)) * T.float32(0.5) for size in loc[2:])
        x, y = loc[0] * side + cx, loc[1] * side + cy
        return x - half_w, y - half_h, x + half_w, y + half_h

    def point(self, prior: Numbers, x: Any, y: Any) -> Numbers:
        """As InsightFace decodes."""
        cx, cy, side = prior
        return x * side + cx, y * side + cy


@dataclass(frozen=True)
class ReceptiveFieldDecoder(Decoder):
    """Distances from the centers of receptive fields, cut to the canvas."""

    spec: ReceptiveFieldSpec

    def prior(self, index: Any) -> Numbers:
        """cx, cy px and half of the field."""
        scales = self.spec.scales

        def at(level: int, column: Any, row: Any, which: Any) -> Numbers:
            stride, start = self.spec.strides[scales[level]], self.spec.starts[scales[level]]
            x, y = (T.Cast("float32", place * stride + start) for place in (column, row))
            return x, y, T.float32(self.spec.receptive_fields[scales[level]] / 2)

        return _on_level(self.spec, self.canvas_hw, index, at)

    def box(self, prior: Numbers, loc: Sequence[Any]) -> Numbers:
        """As LFFD decodes."""
        cx, cy, half = prior
        sides = [center - distance * half for center, distance in zip((cx, cy, cx, cy), loc, strict=True)]
        canvas_h, canvas_w = (T.float32(side) for side in self.canvas_hw)
        # Not T.max and T.min, which make a number of NaN.
        corner = (T.Select(side < T.float32(0), T.float32(0), side) for side in sides[:2])
        limits = zip(sides[2:], (canvas_w, canvas_h), strict=True)
        return (*corner, *(T.Select(side > limit, limit, side) for side, limit in limits))

    def point(self, prior: Numbers, x: Any, y: Any) -> Numbers:
        """Not reached: these heads have no landmarks."""
        return x, y


def decoder_of(spec: HeadSpec, canvas_hw: tuple[int, int]) -> Decoder:
    """That of the head's kind."""
    match spec:
        case PriorSpec():
            return PriorDecoder(canvas_hw, spec)
        case AnchorSpec():
            return AnchorDecoder(canvas_hw, spec)
        case ReceptiveFieldSpec():
            return ReceptiveFieldDecoder(canvas_hw, spec)


def _on_level(spec: Leveled, canvas_hw: tuple[int, int], index: Any, at: Any) -> Numbers:
    """`at(level, column, row, which prior of the cell)` of the level that the index is on."""
    chosen: Numbers = ()
    start = 0
    for number, level in enumerate(spec.levels(canvas_hw)):
        cell, which = T.floordiv(index - start, level.priors), T.floormod(index - start, level.priors)
        here = at(number, T.floormod(cell, level.columns), T.floordiv(cell, level.columns), which)
        # It is on the last level that starts at it or before.
        chosen = tuple(T.Select(index >= start, a, b) for a, b in zip(here, chosen, strict=True)) if number else here
        start += level.count
    return chosen


def _pick(which: Any, values: Sequence[Any]) -> Any:
    """The value of that number."""
    chosen = values[0]
    for number, value in enumerate(values[1:], 1):
        chosen = T.Select(which == number, value, chosen)
    return chosen
