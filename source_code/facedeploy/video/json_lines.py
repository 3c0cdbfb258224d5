"""Detections as JSON Lines: one object a frame, one frame a line."""

from facedeploy.config.json_text import json_bytes
from facedeploy.core.detections import Detections
from facedeploy.core.errors import DataError


def json_line(frame: int, detections: Detections) -> bytes:
    """A line: `{"frame": n, "boxes": [[x1, y1, x2, y2], ...], "scores": [...], "landmarks": [[[x, y], ...], ...]}`.

    Source px, best first; each number reads back as the same float32. Raises DataError for one that is not finite.
    """
    parts = {"boxes": detections.boxes, "scores": detections.scores, "landmarks": detections.landmarks}
    line = json_bytes({"frame": frame} | {name: part.tolist() for name, part in parts.items()}) + b"\n"
    if b"N" in line or b"I" in line:  # NaN, Infinity: to look at the text takes less than to look at the numbers.
        raise DataError(f"frame {frame}: a detection is not finite numbers, which JSON cannot hold")
    return line
