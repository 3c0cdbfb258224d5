"""Anchors of an RPN-style head, as numbers."""

from dataclasses import dataclass
from typing import Literal

from facedeploy.core.level import Level, Leveled, check_levels, covering


@dataclass(frozen=True)
class AnchorSpec(Leveled):
    """`scales[i]` are the square anchors, sides `base_size * scale` px, of every cell of the grid of `strides[i]` (px).

    An anchor is centered at `(base_size - 1) / 2` of its cell, since a box from 0 to 15 counts as 16 px wide; encoded
    centers and sizes are not scaled. The defaults are those of InsightFace's RetinaFace (mnet.25); models of fewer
    strides (faster-mobile-retinaface) have the same anchors at those.
    """

    scales: tuple[tuple[int, ...], ...] = ((32, 16), (8, 4), (2, 1))
    strides: tuple[int, ...] = (32, 16, 8)
    base_size: int = 16
    type: Literal["rpn_nms"] = "rpn_nms"

    def __post_init__(self) -> None:
        check_levels(strides=self.strides, scales=self.scales)
        if not all(self.scales):
            raise ValueError("scales: got an empty list, expected a scale or more for each stride")

    def described(self) -> str:
        """In words of a build config."""
        return f"scales {[list(level) for level in self.scales]} at strides {list(self.strides)}"

    def levels(self, canvas_hw: tuple[int, int]) -> tuple[Level, ...]:
        """Every px belongs to a cell."""
        return covering(self.strides, self.scales, canvas_hw)
