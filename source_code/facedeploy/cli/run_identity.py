"""All that decides the results of a dataset run."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from facedeploy.artifact.store import MANIFEST, file_sha256
from facedeploy.core.shown import size_text
from facedeploy.core.version import __version__
from facedeploy.image.dataset import ImageFile
from facedeploy.image.opencv import cv2

if TYPE_CHECKING:
    from facedeploy.runtime.face_detector import FaceDetector


def run_identity(
    detector: "FaceDetector", images: Sequence[ImageFile], *, ignore_exif: bool, draw_threshold: float | None
) -> dict[str, Any]:
    """A name and a value for each, as JSON has them, in the order in which to tell of differences.

    How much runs side by side is not in it, since it changes nothing. Of the images it has their names and paths.
    """
    return {
        "artifact": file_sha256(detector.artifact.prefix.with_name(MANIFEST)),
        **asdict(detector.nms),
        **dict(_flat("vdsp_params", asdict(detector.canvases[0]))),
        "canvases": ", ".join(size_text(params.canvas_hw) for params in detector.canvases),
        "ignore_exif": ignore_exif,
        "draw_threshold": draw_threshold,
        "number of images": len(images),
        "list of images": _digest(f"{image.name}\0{os.path.abspath(image.path)}" for image in images),  # noqa: PTH100
        "facedeploy": __version__,
        "OpenCV": cv2.__version__,
    }


def _flat(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(name, value)]
    return [pair for key, inner in value.items() for pair in _flat(f"{name}.{key}", inner)]


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(os.fsencode(f"{line}\n"))
    return digest.hexdigest()
