"""Raw pixels off a byte stream, such as a pipe from ffmpeg or GStreamer."""

from collections.abc import Iterator
from io import RawIOBase

import numpy as np

from facedeploy.core.errors import DataError
from facedeploy.image.operations import Pixels
from facedeploy.video.frame import Frame


class RawFrames:
    """Frames of one size, `hw` px, (h, w, 3) u8 BGR row by row, one behind the other without anything between.

    `failure` says, once the frames have ended, why they did where that was not between two frames: the last one is cut,
    or the stream cannot be read. It is no exception, so that the whole frames before it are done first.
    """

    fps: float | None = None  # Raw pixels do not tell.

    def __init__(self, stream: RawIOBase, hw: tuple[int, int], name: str = "standard input") -> None:
        """`stream` is read in chunks of any size; `name` is what errors call it."""
        self._stream, self._shape, self._name = stream, (*hw, 3), name
        self.failure: DataError | None = None

    def __iter__(self) -> Iterator[Frame]:
        """The frames that are left."""
        number = 0
        # A fresh array each: the allocator hands the last ones out again, as fast as a ring of buffers would be.
        while self._fill(pixels := np.empty(self._shape, np.uint8), number):
            yield Frame(number, pixels)
            del pixels  # Not to be held while the next frame is awaited.
            number += 1

    def _fill(self, pixels: Pixels, number: int) -> bool:
        """Whether there was a whole frame."""
        left = pixels.data.cast("B")
        total = len(left)
        try:
            while left and (count := self._stream.readinto(left)):
                left = left[count:]
        except OSError as error:
            self.failure = DataError(f"{self._name}: cannot be read ({error.strerror}), after {number} whole frames")
            return False
        got = total - len(left)
        if 0 < got < total:
            height, width, _ = self._shape
            self.failure = DataError(
                f"{self._name} ends inside frame {number}: got {got:,} bytes of the {total:,} that a frame of "
                f"{width}x{height} BGR has; is that the size of what is sent, and nothing else is (gst-launch-1.0 -q)?"
            )
        return got == total
