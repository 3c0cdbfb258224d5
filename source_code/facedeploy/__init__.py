"""facedeploy: from a face detector's checkpoint to measured detections on a device."""

from typing import TYPE_CHECKING, Any

from facedeploy.core.version import __version__

if TYPE_CHECKING:
    from facedeploy.artifact.named import available_detectors
    from facedeploy.core.detections import Detections
    from facedeploy.runtime.detector import build_detector
    from facedeploy.runtime.face_detector import FaceDetector

__all__ = ["Detections", "FaceDetector", "__version__", "available_detectors", "build_detector"]

# Imported when first asked for, so that `facedeploy --help` needs neither numpy nor tvm.
_HOMES = {
    "Detections": "facedeploy.core.detections",
    "FaceDetector": "facedeploy.runtime.face_detector",
    "available_detectors": "facedeploy.artifact.named",
    "build_detector": "facedeploy.runtime.detector",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
