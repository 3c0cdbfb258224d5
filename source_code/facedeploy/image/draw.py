"""Pictures of what was found."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedeploy.core.detections import Detections
from facedeploy.core.errors import ImageError
from facedeploy.core.files import result_path
from facedeploy.image.opencv import cv2
from facedeploy.image.operations import Pixels

_FAR = 1 << 15  # px: whatever lies beyond is out of the picture, and OpenCV takes no number past 32 bits.
_BOX = (0, 220, 0)
# Left eye, right eye, nose, left and right corner of the mouth, of a detector that finds them; BGR.
_LANDMARKS = ((0, 0, 255), (0, 255, 255), (255, 0, 255), (0, 255, 0), (255, 0, 0))


def draw_detections(image: Pixels, detections: Detections, min_score: float = 0.5) -> Pixels:
    """A copy of the image (h, w, 3) u8 BGR with box, score and landmarks of each face scored `min_score` or more."""
    picture: Pixels = image.copy()
    thickness = max(1, round(max(image.shape[:2]) / 500))
    for box, score, landmarks in zip(detections.boxes, detections.scores, detections.landmarks, strict=True):
        if score < min_score:
            continue
        x1, y1, x2, y2 = _round(box)
        cv2.rectangle(picture, (x1, y1), (x2, y2), _BOX, thickness)
        text_at = (x1, max(12, y1 - 4))
        cv2.putText(picture, f"{score:.2f}", text_at, cv2.FONT_HERSHEY_SIMPLEX, 0.4 * thickness, _BOX, thickness)
        for point, color in zip(landmarks, _LANDMARKS, strict=False):
            cv2.circle(picture, _round(point), thickness + 1, color, -1)
    return picture


def write_image(path: Path, image: Pixels) -> None:
    """Write a picture whole or not at all, in the format of the suffix.

    Raises ImageError when it cannot be encoded, DataError when the file cannot be written.
    """
    try:
        encoded, data = cv2.imencode(path.suffix, image)
    except cv2.error:  # No such format, for one.
        encoded = False
    if not encoded:
        raise ImageError(f"{path}: cannot be encoded as {path.suffix or 'a file without suffix'}")
    with result_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


def _round(xy: npt.NDArray[np.float32]) -> list[int]:
    rounded: list[int] = np.rint(xy.clip(-_FAR, _FAR)).astype(int).tolist()
    return rounded
