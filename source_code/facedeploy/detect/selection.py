"""Which of an image's faces an application wants, and how much around each."""

from dataclasses import dataclass
from numbers import Real

import numpy as np

from facedeploy.core.detections import Detections


@dataclass(frozen=True)
class Selection:
    """Applied in this order; what it is by default changes nothing.

    `min_size`, `max_size`: both sides of a box, as detected, are at least and at most so many px. `biggest_face`: of
    these the box of the largest area alone, of equal ones the best score. `margin`: that share of a box's width is
    added at the left and at the right, of its height above and below. `clip_boxes`: boxes are cut to the image (0 to
    width, 0 to height); one that lies beyond it has no area then. Landmarks stay as they are.
    """

    min_size: float | None = None
    max_size: float | None = None
    biggest_face: bool = False
    margin: float = 0.0
    clip_boxes: bool = False

    def __post_init__(self) -> None:
        for name in ("min_size", "max_size", "margin"):
            value = getattr(self, name)
            number = isinstance(value, Real) and 0 <= float(value) < float("inf")
            if not number and (value is not None or name == "margin"):
                raise ValueError(f"{name}: got {value!r}, expected a number from 0")
        if self.min_size is not None and self.max_size is not None and self.min_size > self.max_size:
            raise ValueError(f"min_size {self.min_size:g} is above max_size {self.max_size:g}: no face is left")

    def of(self, detections: Detections, image_hw: tuple[int, int]) -> Detections:
        """The faces wanted of an image of (height, width) px; their order stays, best score first."""
        boxes = detections.boxes
        sides = boxes[:, 2:] - boxes[:, :2]
        kept = np.ones(len(boxes), bool)
        if self.min_size is not None:
            kept &= (sides >= self.min_size).all(axis=1)
        if self.max_size is not None:
            kept &= (sides <= self.max_size).all(axis=1)
        chosen = np.flatnonzero(kept)
        if self.biggest_face and len(chosen):
            chosen = chosen[[sides[chosen].prod(axis=1).argmax()]]
        boxes = boxes[chosen]
        if self.margin:
            around = sides[chosen] * np.float32(self.margin)
            boxes = np.concatenate([boxes[:, :2] - around, boxes[:, 2:] + around], axis=1)
        if self.clip_boxes:
            height, width = image_hw
            boxes = boxes.clip(0, np.array([width, height, width, height], np.float32))
        return Detections(boxes, detections.scores[chosen], detections.landmarks[chosen])
