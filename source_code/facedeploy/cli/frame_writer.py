"""The end of a run over frames: each result in its turn, as JSON Lines, a video file or raw pixels."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from facedeploy.core.detections import Detections
from facedeploy.core.files import result_path
from facedeploy.image.draw import draw_detections
from facedeploy.image.operations import Pixels
from facedeploy.runtime.operator import Unit
from facedeploy.video.json_lines import json_line
from facedeploy.video.video_file import video_writer

Kind = Literal["jsonl", "video", "raw"]
WriteFrame = Callable[[int, Pixels, Detections], None]


@dataclass(frozen=True)
class Annotate:
    """A stage that replaces `image` by a copy with the faces drawn that are scored `threshold` or more."""

    threshold: float

    def __call__(self, unit: Unit) -> Unit:
        """Draw."""
        for work in unit:
            if work.image is not None and work.detections is not None:
                work.image = draw_detections(work.image, work.detections, self.threshold)
        return unit


@contextmanager
def frame_writer(kind: Kind, path: Path | None, fps: float) -> Iterator[WriteFrame]:
    """What writes a frame's number, picture and detections to a file, or to standard output where `path` is None.

    Raises DataError when the file cannot be written; BrokenPipeError when nobody reads standard output any more.
    """
    with ExitStack() as stack:
        if kind == "video":
            assert path is not None
            video = stack.enter_context(video_writer(path, fps))
            yield lambda number, picture, detections: video.write(picture)
            return
        file: IO[bytes] = sys.stdout.buffer
        if path is not None:
            file = stack.enter_context(stack.enter_context(result_path(path)).open("wb"))

        def write(number: int, picture: Pixels, detections: Detections) -> None:
            file.write(picture.data if kind == "raw" else json_line(number, detections))
            file.flush()  # A consumer behind a pipe sees each at once.

        yield write
