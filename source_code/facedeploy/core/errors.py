"""What went wrong, for the person at the keyboard.

A `FacedeployError` is a mistake in what was given (a file, an option, an image), never a bug of this package: the
command line prints its text and no traceback. Its text is one clear sentence: what, got, expected, and the way out.
"""


class FacedeployError(Exception):
    """Base of every error that a user can cause and mend."""


class ConfigError(FacedeployError):
    """A build YAML, vdsp JSON or command line option that cannot be used."""


class CheckpointError(FacedeployError):
    """A checkpoint that is not weights, or not of the net asked for."""


class CompileError(FacedeployError):
    """A model that cannot be compiled as asked."""


class ArtifactError(FacedeployError):
    """An artifact that is missing, damaged, partial, foreign, or of another schema."""


class ImageError(FacedeployError):
    """An image that cannot be read or used."""


class DataError(FacedeployError):
    """A dataset, prediction file, ground truth or npz file that is not as its format says."""


class DependencyError(FacedeployError):
    """A package of an extra, or a system library, that is not installed."""


class ShapeError(FacedeployError):
    """A tensor, batch or canvas of a size that an artifact does not hold."""


class DeviceError(FacedeployError):
    """A device, or an instruction set, that this machine does not have."""
