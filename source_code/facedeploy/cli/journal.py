"""What of a dataset run is done, on disk: a run that was killed goes on from there."""

import fcntl
import json
import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from facedeploy.core.errors import ConfigError, DataError
from facedeploy.core.files import write_text
from facedeploy.core.shown import shown

MOST_SHOWN = 3  # Differences between two runs.
JOURNAL = "run.journal"  # A name that no prediction file can have.


class Journal:
    """A line for each image whose results are on disk, below a header that says what run it is.

    Lines come as images are done, in any thread; those of a run that has ended are in the order of the images. `done`
    are the images that it had when it was opened. A kill of the process loses nothing of it, at any moment; the files
    are not forced to the disk itself, which would take longer than the images do.
    """

    def __init__(self, file: FileIO, path: Path, header: str, done: frozenset[str]) -> None:
        self._file, self._path, self._header, self.done = file, path, header, done
        self._lock = threading.Lock()
        self._failure: DataError | None = None

    def add(self, name: str) -> None:
        """Note that an image's results are on disk. Raises DataError when this line or one before was not taken."""
        with self._lock:
            if self._failure:
                raise self._failure  # A line behind a part of one would be part of it.
            try:
                _write(self._file, f"{name}\n")
            except OSError as error:
                self._failure = _not_written(self._path, error)
                raise self._failure from error

    def finish(self, names: Iterable[str]) -> None:
        """Have a line for each of these images, in their order; nothing is added later. Raises DataError.

        So the file does not tell how often a run was stopped, or how many threads it had.
        """
        write_text(self._path, "".join(f"{line}\n" for line in (self._header, *names)))


@contextmanager
def open_journal(folder: Path, run: Mapping[str, Any], names: Collection[str], resume: bool) -> Iterator[Journal]:
    """The journal in the folder of the results: begun anew, or read and continued to `resume` it where there is one.

    `run` is all that decides the results, as JSON has it; `names` are the images. Raises ConfigError, which names what
    differs, when the run to resume is another; DataError when another process has it open, when it is damaged, or when
    it cannot be written.
    """
    path = folder / JOURNAL
    header = json.dumps(run)
    with _said_of(path):
        folder.mkdir(parents=True, exist_ok=True)
    with _locked(path) as file:
        with _said_of(path):
            lines, whole = _lines(file, path)
            then = _header(lines[0], path) if lines else None
            done: frozenset[str] = frozenset()
            if then is not None and resume:
                _refuse_another(path, then, json.loads(header))
                done = frozenset(lines[1:])
                if strange := done.difference(names):
                    raise DataError(f"{path}: is damaged: {shown(min(strange))!r} is no image of this run: remove it")
                file.truncate(whole)  # A last line that was cut off is of an image that is not done.
            else:
                file.truncate(0)
                _write(file, f"{header}\n")
        yield Journal(file, path, header, done)


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be written ({error.strerror or error})")


@contextmanager
def _locked(path: Path) -> Iterator[FileIO]:
    """The journal, held until the block or this process ends, however that happens."""
    while True:
        with _said_of(path):
            file = path.open("a+b", buffering=0)
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(
                    f"{path}: another run is writing there: wait for its end, or give another --save_dir"
                ) from None
            except OSError:
                pass  # A file system without locks.
            if _is(file, path):
                yield file
                return
            # A run that ended just now has put another file in its place.


def _is(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _write(file: FileIO, text: str) -> None:
    left = text.encode()
    while left:
        left = left[file.write(left) or 0 :]


def _lines(file: FileIO, path: Path) -> tuple[list[str], int]:
    """The whole lines, and how many bytes they have."""
    file.seek(0)
    content = file.readall()
    whole = content.rfind(b"\n") + 1
    try:
        return content[:whole].decode().split("\n")[:-1], whole
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is damaged: byte {error.start} is no text: remove it") from error


def _header(line: str, path: Path) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise DataError(f"{path}: is no journal of a run: move it away, or give another --save_dir")
    return header


def _refuse_another(path: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    differing = [
        f"{shown(key)}: {shown(str(then.get(key)))} then, {shown(str(now.get(key)))} now"
        for key in {**now, **then}
        if then.get(key) != now.get(key)
    ]
    if differing:
        if len(differing) > MOST_SHOWN:
            differing[MOST_SHOWN:] = [f"and {len(differing) - MOST_SHOWN} more"]
        raise ConfigError(
            f"--resume: {path} is of another run ({'; '.join(differing)}): run as then, or without --resume to start "
            "from the beginning, or give another --save_dir"
        )
