"""Listed npz files through an artifact."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from facedeploy.core.errors import DataError
from facedeploy.core.files import remove_result
from facedeploy.npz.datalist import NpzFile
from facedeploy.npz.files import read_image_npz, write_slots_npz
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.runtime.graph import Stage
from facedeploy.runtime.operator import Unit, Work
from facedeploy.runtime.stream import Stream


@dataclass(frozen=True)
class _Read:
    def __call__(self, unit: Unit) -> Unit:
        for work in unit:
            try:
                assert isinstance(work.source, Path)
                work.image = read_image_npz(work.source)
            except DataError as error:
                work.error = error
        return unit


@dataclass(frozen=True)
class _Write:
    folder: Path

    def __call__(self, unit: Unit) -> Unit:
        for work in unit:
            path = self.folder / f"{work.name}.npz"
            if work.slots is not None:
                write_slots_npz(path, work.slots)
            elif work.error is not None:
                remove_result(path)
        return unit


def refuse_overwriting(entries: Sequence[NpzFile], folder: Path) -> None:
    """Raise DataError when an output would take the place of its input."""
    for entry in entries:
        if entry.output(folder).resolve() == entry.path.resolve():
            raise DataError(f"{entry.path} would be overwritten by its output: choose another folder than {folder}")


def stream_npz(detector: FaceDetector, entries: Sequence[NpzFile], folder: Path) -> Generator[Work, None, None]:
    """Run each npz file and write its output npz, under its own name, into `folder`; yields each when it is done.

    One that cannot be read comes with `error` set, and an output that it had is removed. Raises DataError when an
    output cannot be written, and at once when one would take the place of its input.
    """
    refuse_overwriting(entries, folder)
    graph = detector.slots_graph(_Read(), (Stage("write", [_Write(folder)]),))
    return Stream(graph).run_async(Work(entry.name, entry.path, "RGB") for entry in entries)
