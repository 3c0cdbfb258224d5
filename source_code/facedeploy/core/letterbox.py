"""Where a source image lies on the canvas a model sees, and the way back."""

from dataclasses import dataclass
from functools import cached_property
from numbers import Real

import numpy as np
import numpy.typing as npt

from facedeploy.core.errors import ConfigError

FloatArray = npt.NDArray[np.floating]

SCALES = (0.1, 2.0)  # The least and the largest, as faster-mobile-retinaface has them.


def check_scale(scale: float) -> None:
    """Raise ConfigError for a scale that images are not seen at."""
    if not isinstance(scale, Real) or not SCALES[0] <= float(scale) <= SCALES[1]:
        got = f"{float(scale):g}" if isinstance(scale, Real) else repr(scale)
        raise ConfigError(f"scale: got {got}, expected a number from {SCALES[0]:g} to {SCALES[1]:g}")


def scaled(sides: tuple[int, int], scale: float) -> tuple[int, int]:
    """Both sides, px, times `scale`; rounded half to even, as OpenCV's resize does it, and never less than 1 px."""
    return max(1, round(sides[0] * scale)), max(1, round(sides[1] * scale))


@dataclass(frozen=True)
class Letterbox:
    """The source, resized to `content_hw`, is laid on a canvas with its top left corner at `offset_xy`; all in px.

    An offset may be negative: then the canvas is a crop of the content.
    """

    source_hw: tuple[int, int]
    canvas_hw: tuple[int, int]
    content_hw: tuple[int, int]
    offset_xy: tuple[int, int]

    @classmethod
    def fit(cls, source_hw: tuple[int, int], canvas_hw: tuple[int, int]) -> "Letterbox":
        """The largest content of the source's aspect that fits the canvas, centered.

        Sizes round half to even, as Python's `round`; no side becomes less than 1 px.
        """
        (source_h, source_w), (canvas_h, canvas_w) = source_hw, canvas_hw
        ratio = min(canvas_w / source_w, canvas_h / source_h)
        content_h, content_w = scaled(source_hw, ratio)
        offset_xy = ((canvas_w - content_w) // 2, (canvas_h - content_h) // 2)
        return cls(source_hw, canvas_hw, (content_h, content_w), offset_xy)

    @cached_property
    def _offset(self) -> npt.NDArray[np.float64]:
        return np.array(self.offset_xy, np.float64)

    @cached_property
    def _scale(self) -> npt.NDArray[np.float64]:
        """Source px for each content px, along x and y: rounding makes the two differ slightly."""
        return np.array(self.source_hw[::-1], np.float64) / self.content_hw[::-1]

    def to_source(self, xy: FloatArray) -> npt.NDArray[np.float32]:
        """Canvas px -> source px. `xy` is (..., 2k): x and y alternate, so boxes xyxy and landmarks both fit."""
        return ((_pairs(xy) - self._offset) * self._scale).astype(np.float32).reshape(xy.shape)

    def to_canvas(self, xy: FloatArray) -> npt.NDArray[np.float32]:
        """Source px -> canvas px; the inverse of `to_source`."""
        return (_pairs(xy) / self._scale + self._offset).astype(np.float32).reshape(xy.shape)


def _pairs(xy: FloatArray) -> FloatArray:
    return xy.reshape(-1, 2)
