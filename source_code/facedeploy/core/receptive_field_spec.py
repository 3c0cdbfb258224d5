"""Receptive fields of a head without anchors, as numbers."""

from dataclasses import dataclass
from typing import Literal

from facedeploy.core.level import Level, Leveled, check_levels


@dataclass(frozen=True)
class ReceptiveFieldSpec(Leveled):
    """Scale i sees squares of `receptive_fields[i]` px, centered at `starts[i] + strides[i] * (column, row)` px.

    Its boxes are distances from the center, in halves of the field. Scales of the numbers `skip_scales`, from 0, are
    left out. The defaults are those of LFFD's first face net (arXiv:1904.10633).
    """

    receptive_fields: tuple[int, ...] = (15, 20, 40, 70, 110, 250, 400, 560)
    strides: tuple[int, ...] = (4, 4, 8, 8, 16, 32, 32, 32)
    starts: tuple[int, ...] = (3, 3, 7, 7, 15, 31, 31, 31)
    skip_scales: tuple[int, ...] = ()
    type: Literal["rf_nms"] = "rf_nms"

    def __post_init__(self) -> None:
        check_levels(strides=self.strides, receptive_fields=self.receptive_fields, starts=self.starts)
        unknown = [scale for scale in self.skip_scales if not 0 <= scale < len(self.strides)]
        if unknown:
            raise ValueError(f"skip_scales: got {unknown[0]}, expected numbers from 0 to {len(self.strides) - 1}")
        if not self.scales:
            raise ValueError("skip_scales: got all scales, expected one to be left")

    @property
    def scales(self) -> tuple[int, ...]:
        """The numbers of those that are not skipped."""
        return tuple(scale for scale in range(len(self.strides)) if scale not in self.skip_scales)

    def described(self) -> str:
        """In words of a build config."""
        return f"receptive_fields {list(self.receptive_fields)} at strides {list(self.strides)}"

    def levels(self, canvas_hw: tuple[int, int]) -> tuple[Level, ...]:
        """The scales that are not skipped."""
        height, width = canvas_hw
        return tuple(
            Level(stride, _cells(height, stride), _cells(width, stride), 1)
            for stride in (self.strides[scale] for scale in self.scales)
        )


def _cells(side: int, stride: int) -> int:
    """Windows of 3 without padding, halved again and again, leave so many."""
    return max(0, (side + 1) // stride - 1)
