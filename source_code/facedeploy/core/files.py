"""Files are written whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from facedeploy.core.errors import DataError

_PARTIAL = ".partial-"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` on success, remove it on failure.

    The temporary name keeps the suffix, since some writers choose the format by it. Folders are made as needed.
    """
    folder = path.parent
    if not folder.is_dir():  # Asked first, since a run writes many small files into few folders.
        folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{_PARTIAL}{uuid4().hex}{path.suffix}"
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # Such as a disk that has gone; the first error is the one that counts.
            temporary.unlink()
        raise


@contextmanager
def result_path(path: Path) -> Iterator[Path]:
    """`atomic_path` for a result that the user asked for. Raises DataError when it cannot be written."""
    try:
        with atomic_path(path) as temporary:
            yield temporary
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically. Raises DataError when it cannot be written.

    As `result_path`, but without objects for paths: a run writes a small file for each image, in half the time so.
    """
    folder, slash, _ = os.fspath(path).rpartition("/")
    temporary = f"{folder}{slash}{_PARTIAL}{os.urandom(16).hex()}"
    try:
        try:
            _write_new(temporary, text.encode())
            os.replace(temporary, path)  # noqa: PTH105
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def _write_new(path: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except FileNotFoundError:  # Not asked before, since nearly always the folder is there.
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, flags, 0o666)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def remove_result(path: str | Path) -> None:
    """Remove an earlier run's result, where there is one, that this run has nothing in place of. Raises DataError."""
    try:
        Path(path).unlink()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):  # There can be none.
            return
        raise DataError(f"{path}: is of an earlier run and cannot be removed ({error.strerror})") from error


def remove_partial(folder: Path) -> None:
    """Remove what a killed process was writing into a folder, which no other process may be writing to now."""
    if os.path.isdir(folder):  # noqa: PTH112 - Path's raises where the name is too long for a folder.
        for path in folder.glob(f"{_PARTIAL}*"):
            path.unlink(missing_ok=True)
