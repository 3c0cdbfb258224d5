"""OpenCV, or one sentence that says what this machine lacks."""

from facedeploy.core.errors import DependencyError

try:
    import cv2
except ImportError as error:
    if isinstance(error, ModuleNotFoundError) and error.name == "cv2":
        advice = "it is not installed: pip install opencv-python-headless"
    else:
        advice = (
            f"it does not load ({error}): install the system library (Debian: apt-get install libgl1 libglib2.0-0), "
            "or the build that needs none: pip uninstall opencv-python; pip install opencv-python-headless"
        )
    raise DependencyError(f"images need OpenCV, and {advice}") from error

__all__ = ["cv2"]
