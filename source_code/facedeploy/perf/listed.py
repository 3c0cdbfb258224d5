"""Listed npz files through an artifact, in several processes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from facedeploy.core.errors import FacedeployError
from facedeploy.npz.datalist import NpzFile
from facedeploy.npz.stream import refuse_overwriting, stream_npz
from facedeploy.perf.processes import messages, processes, receive
from facedeploy.runtime.face_detector import FaceDetector

Done = tuple[int, FacedeployError | None]  # A file's place in the list, and why it has no output.
PATIENCE_SECONDS = 5.0  # For outputs that are half written when the rest is not wanted any more.


@contextmanager
def list_in_processes(
    opening: Callable[[], FaceDetector], entries: Sequence[NpzFile], folder: Path, count: int
) -> Iterator[tuple[str, Iterator[Done]]]:
    """`npz.stream.stream_npz` by `count` processes until the block ends, each with a detector and every so-manyth file.

    Yields the detectors' note, and each file when it is done, in any order. Raises what opening raises and what
    stream_npz does, and FacedeployError when a process dies; the others end then.
    """
    refuse_overwriting(entries, folder)
    count = min(count, len(entries))
    with processes(partial(_run_share, opening, entries, folder, count), count, PATIENCE_SECONDS) as channels:
        yield receive(channels)[0], _done(channels)


def _done(channels: Sequence[Connection]) -> Iterator[Done]:
    open_channels = list(channels)
    while open_channels:
        for channel, message in messages(open_channels):
            if message is None:
                open_channels.remove(channel)
            else:
                yield message


def _run_share(
    opening: Callable[[], FaceDetector],
    entries: Sequence[NpzFile],
    folder: Path,
    count: int,
    index: int,
    channel: Connection,
) -> None:
    detector = opening()
    channel.send(detector.note)
    with closing(stream_npz(detector, entries[index::count], folder)) as works:
        for number, work in zip(range(index, len(entries), count), works, strict=True):
            channel.send((number, work.error))
    channel.send(None)
