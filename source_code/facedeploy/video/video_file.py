"""Video files, read and written by OpenCV."""

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from facedeploy.core.errors import DataError
from facedeploy.core.files import result_path
from facedeploy.image.opencv import cv2
from facedeploy.image.operations import Pixels
from facedeploy.video.frame import Frame

LEAST_SHARE = 0.9  # Of the frames that a header tells of.
CODECS = {".avi": "MJPG", ".mp4": "mp4v"}  # Those that OpenCV's own wheels can write.


class VideoFile:
    """Frames of a file; `fps` (frames/s, None where the file does not tell) is what its header says.

    `failure` says, once the frames have ended, that they are far fewer than the header tells of, as of a file that was
    cut short. OpenCV tells no damaged end from a clean one, and guesses the number where a header has none, so that a
    tenth too few is no failure.
    """

    def __init__(self, path: Path) -> None:
        """Open it. Raises DataError when there is no such file, or none that OpenCV can read frames from."""
        if not path.is_file():
            raise DataError(f"{path}: there is no such file (the current folder is {Path.cwd()})")
        self._capture = cv2.VideoCapture(str(path))
        # The first frame tells what a header does not: a picture or a text may open, too.
        self._first = self._read()
        if self._first is None:
            raise DataError(f"{path}: is no video that OpenCV can decode, or has no frame")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and fps > 0 else None
        self._path, self._told = path, self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.failure: DataError | None = None

    def __iter__(self) -> Iterator[Frame]:
        """The frames, once; the file is closed behind the last."""
        number, pixels, self._first = 0, self._first, None
        while pixels is not None:
            yield Frame(number, pixels)
            number += 1
            pixels = self._read()
        self._capture.release()
        if number < LEAST_SHARE * self._told:
            self.failure = DataError(
                f"{self._path} ends after {number} frames, its header tells of {self._told:.0f}: was it cut short?"
            )

    def _read(self) -> Pixels | None:
        read, pixels = self._capture.read()
        return np.asarray(pixels, np.uint8) if read else None


class VideoWriter:
    """Appends frames to a file that the first of them opens."""

    def __init__(self, path: Path, fps: float, name: Path) -> None:
        """The format is that of the suffix, a key of `CODECS`; `name` is what errors call the file."""
        self._path, self._fps, self._name = path, fps, name
        self._writer: cv2.VideoWriter | None = None
        self._hw = 0, 0
        self._frames = 0

    def write(self, pixels: Pixels) -> None:
        """Append (h, w, 3) u8 BGR. Raises DataError when OpenCV cannot write such a file, or the size has changed."""
        if self._writer is None:
            self._hw = height, width = pixels.shape[0], pixels.shape[1]
            codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(self._path), codec, self._fps, (width, height))
            if not self._writer.isOpened():
                raise DataError(
                    f"{self._name}: OpenCV cannot write {width}x{height} px at {self._fps:g} frames/s there"
                )
        elif pixels.shape[:2] != self._hw:  # OpenCV would leave such a frame out, and not say so.
            raise DataError(
                f"{self._name}: the frames change their size from {self._hw} to {pixels.shape[:2]} (height, width)"
            )
        self._writer.write(pixels)
        self._frames += 1

    def close(self) -> None:
        """Write what a reader needs to find the frames."""
        if self._writer is not None:
            self._writer.release()

    def check(self) -> None:
        """Raise DataError unless the closed file has all frames: OpenCV does not say when it could not write one."""
        if not self._frames:
            raise DataError(f"{self._name}: there was no frame to write")
        if cv2.VideoCapture(str(self._path)).get(cv2.CAP_PROP_FRAME_COUNT) < self._frames:
            raise DataError(f"{self._name}: OpenCV could not write all of {self._frames} frames: is the disk full?")


@contextmanager
def video_writer(path: Path, fps: float) -> Iterator[VideoWriter]:
    """A VideoWriter whose file is there whole or not at all. Raises DataError when it cannot be written."""
    with result_path(path) as temporary:
        with closing(VideoWriter(temporary, fps, path)) as writer:
            yield writer
        writer.check()
