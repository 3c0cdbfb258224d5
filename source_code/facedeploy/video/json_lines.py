"""Detections as JSON Lines: one object a frame, one frame a line."""

import json

from facedeploy.core.detections import Detections
from facedeploy.core.errors import DataError

_encode = json.JSONEncoder(allow_nan=False, check_circular=False).encode  # `json.dumps` would make one for each line.


def json_line(frame: int, detections: Detections) -> bytes:
    """A line: `{"frame": n, "boxes": [[x1, y1, x2, y2], ...], "scores": [...], "landmarks": [[[x, y], ...], ...]}`.

    Source px, best first; each number reads back as the same float32. Raises DataError for one that is not finite.
    """
    try:
        line = _encode(
            {
                "frame": frame,
                "boxes": detections.boxes.tolist(),
                "scores": detections.scores.tolist(),
                "landmarks": detections.landmarks.tolist(),
            }
        )
    except ValueError as error:
        raise DataError(f"frame {frame}: a detection is not finite numbers, which JSON cannot hold") from error
    return f"{line}\n".encode()
