"""How the faces that an artifact finds differ from those of the float model."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from facedeploy.detect.nms import iou_with_rest
from facedeploy.detect.slots import Slots

MATCH_IOU = 0.5
FloatArray = npt.NDArray[np.float32]


@dataclass
class FaceErrors:
    """Faces of the float model above `confidence`, those of the artifact that lie on them, and how far these are off.

    `landmark_errors`: of each matched face the mean distance of its five landmarks, as a part of the square root of the
    area of the box: the normalized mean error (NME).
    """

    confidence: float
    expected: int = 0
    ious: list[float] = field(default_factory=list)
    score_errors: list[float] = field(default_factory=list)
    landmark_errors: list[float] = field(default_factory=list)

    def add(self, got: Slots, expected: Slots, image: int) -> None:
        """The slots of one image of the batch; best first, each face takes the best of those that are free."""
        wanted = np.flatnonzero(expected.scores[image, :, 0] >= self.confidence)
        free = np.flatnonzero(got.scores[image, :, 0] > 0)
        self.expected += len(wanted)
        for face in wanted:
            if not len(free):
                return
            box = expected.boxes[image, face]
            ious = iou_with_rest(box, got.boxes[image, free])
            best = int(ious.argmax())
            if ious[best] < MATCH_IOU:
                continue
            other = free[best]
            free = np.delete(free, best)
            self.ious.append(float(ious[best]))
            self.score_errors.append(float(abs(got.scores[image, other, 0] - expected.scores[image, face, 0])))
            if not expected.landmarks.shape[2]:
                continue
            offsets = (got.landmarks[image, other] - expected.landmarks[image, face]).reshape(-1, 2)
            side = float(np.sqrt(max(1.0, float((box[2] - box[0]) * (box[3] - box[1])))))
            self.landmark_errors.append(float(np.hypot(*offsets.T).mean()) / side)

    @property
    def matched(self) -> int:
        """How many of the expected faces were found."""
        return len(self.ious)
