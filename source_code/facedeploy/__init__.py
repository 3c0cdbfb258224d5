"""facedeploy: from a face detector's checkpoint to measured detections on a device."""

__version__ = "0.1.0"
