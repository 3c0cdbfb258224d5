"""Image files become pixels."""

import re
from pathlib import Path
from stat import S_ISDIR, S_ISREG

import numpy as np

from facedeploy.core.errors import ImageError
from facedeploy.image.opencv import cv2
from facedeploy.image.operations import Pixels

_JPEG_START, _JPEG_END = b"\xff\xd8", 0xD9
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # Not a stuffed byte, a fill byte or a restart.


def read_image(path: str | Path, *, ignore_exif: bool = False) -> Pixels:
    """The pixels of an image file: (h, w, 3) u8, BGR, upright as its EXIF data says (`cv2.imread`'s default).

    With `ignore_exif` they lie as the file stores them. Gray becomes three equal channels, transparency is dropped, 16
    bits become 8, and of an animation there is the first frame. What a file is its first bytes tell, not its name.
    Raises ImageError that names the file and the reason: missing, a folder, a pipe or a device, empty, cut short, or
    not an image.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
        if not (S_ISREG(mode) or S_ISDIR(mode)):  # Reading may never end; that of a folder fails by itself.
            raise ImageError(f"{path}: is a pipe, a socket or a device, expected a file")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # A path with a zero byte.
        raise ImageError(f"{path}: cannot be read: {error}") from None
    try:
        return decode_image(data, ignore_exif=ignore_exif)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def decode_image(data: bytes, *, ignore_exif: bool = False) -> Pixels:
    """The same for the bytes of a file. Raises ImageError with the reason."""
    if not data:
        raise ImageError("is empty")
    if data.startswith(_JPEG_START) and not _jpeg_ends(data):
        raise ImageError("is cut short: the end of the JPEG is missing")  # Some OpenCV builds fill the rest with gray.
    flags = cv2.IMREAD_COLOR | (cv2.IMREAD_IGNORE_ORIENTATION if ignore_exif else 0)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"cannot be decoded: {error.err}") from None
    if image is None:
        raise ImageError("is no image that OpenCV can decode, or is cut short")
    return np.asarray(image, np.uint8)


def _jpeg_ends(data: bytes) -> bool:
    """Whether the markers lead to an end of image; the thumbnail inside a segment has an end of its own."""
    position = len(_JPEG_START)
    while match := _JPEG_MARKER.search(data, position):
        if match.group()[1] == _JPEG_END:
            return True
        position = match.end() + int.from_bytes(data[match.end() : match.end() + 2], "big")
    return False
