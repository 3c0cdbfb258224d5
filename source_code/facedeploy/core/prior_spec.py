"""Priors of an SSD-style head, as numbers."""

import math
from dataclasses import dataclass
from typing import Literal

from facedeploy.core.level import Level, Leveled, check_levels, covering


@dataclass(frozen=True)
class PriorSpec(Leveled):
    """`min_sizes[i]` are the priors (px) of every cell of the grid of `strides[i]` (px).

    `variances` scale encoded centers and sizes. A prior has the area of the square of its min size, and is
    `aspect_ratio` times as high as wide; it is centered at `offset` of its cell, 0.5 the middle. With `clip` none of
    cx, cy, w and h, as shares of the canvas, exceeds 1. The defaults are RetinaFace's (arXiv:1905.00641;
    Pytorch_Retinaface); DSFD's priors (arXiv:1810.10220) have the aspect ratio 1.5 and are clipped.
    """

    min_sizes: tuple[tuple[int, ...], ...] = ((16, 32), (64, 128), (256, 512))
    strides: tuple[int, ...] = (8, 16, 32)
    variances: tuple[float, float] = (0.1, 0.2)
    aspect_ratio: float = 1.0
    clip: bool = False
    offset: float = 0.5
    type: Literal["retinaface_nms"] = "retinaface_nms"

    def __post_init__(self) -> None:
        check_levels(strides=self.strides, min_sizes=self.min_sizes)
        if not 0 < self.aspect_ratio < math.inf:
            raise ValueError(f"aspect_ratio: got {self.aspect_ratio}, expected a number above 0")
        if not 0 <= self.offset <= 1:
            raise ValueError(f"offset: got {self.offset}, expected a number from 0 to 1")

    def described(self) -> str:
        """In words of a build config."""
        return f"anchor {[size for level in self.min_sizes for size in level]} at strides {list(self.strides)}"

    def levels(self, canvas_hw: tuple[int, int]) -> tuple[Level, ...]:
        """Every px belongs to a cell: 16,800 priors at 640x640 with the defaults."""
        return covering(self.strides, self.min_sizes, canvas_hw)

    def size_wh(self, min_size: int, canvas_hw: tuple[int, int]) -> tuple[float, float]:
        """Width and height, as shares of the canvas, of a prior of this min size, before `clip`."""
        height, width = canvas_hw
        narrow = math.sqrt(self.aspect_ratio)
        return min_size / narrow / width, min_size * narrow / height
