"""Faces found in one image."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Detections:
    """N faces, best score first, in px of the source image.

    boxes (N, 4) float32, x1 y1 x2 y2; scores (N,) float32, 0..1; landmarks (N, 5, 2) float32, x y of left eye, right
    eye, nose, left and right corner of the mouth (left and right as seen in the image), or (N, 0, 2) of a detector
    without landmarks. Raises ValueError when the shapes disagree.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    landmarks: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        count = len(self.scores)
        expected = {"boxes": (count, 4), "scores": (count,), "landmarks": (count, self.points, 2)}
        for name, shape in expected.items():
            got = getattr(self, name).shape
            if got != shape:
                raise ValueError(f"Detections.{name}: got shape {got}, expected {shape}")

    @property
    def points(self) -> int:
        """Landmarks of a face: 5, or 0 of a detector without."""
        return 0 if self.landmarks.shape[1:2] == (0,) else 5

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls) -> "Detections":
        """No face."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32))
