"""Keeping up with a camera: of the frames that come while nobody takes one, the newest."""

import threading
from collections.abc import Iterable, Iterator

from facedeploy.video.frame import Frame


class Newest:
    """Iterates over `frames`, leaving out those that a newer one has overtaken; `dropped` counts them.

    A thread reads `frames` as fast as they come, and holds one.
    """

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames = frames
        self._changed = threading.Condition()
        self._waiting: Frame | None = None
        self._error: BaseException | None = None
        self._ended = self._stopped = False
        self.dropped = 0

    def __iter__(self) -> Iterator[Frame]:
        """The frames, once. Raises what `frames` raises, after the last of them."""
        # A daemon, since reading a camera may never come back.
        threading.Thread(target=self._read, name="newest frame", daemon=True).start()
        try:
            while (frame := self._take()) is not None:
                yield frame
        finally:
            self._stopped = True

    def _read(self) -> None:
        try:
            for frame in self._frames:
                with self._changed:
                    self.dropped += self._waiting is not None
                    self._waiting = frame
                    self._changed.notify()
                if self._stopped:
                    break
        except BaseException as error:  # Whoever takes frames raises it.
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _take(self) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._ended)
            frame, self._waiting = self._waiting, None
        if frame is None and self._error is not None:
            raise self._error
        return frame
