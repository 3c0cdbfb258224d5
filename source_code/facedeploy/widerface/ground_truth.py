"""The four .mat files of WIDER FACE's evaluation toolkit, read and written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from facedeploy.core.errors import DataError
from facedeploy.core.files import atomic_path
from facedeploy.core.requirement import require
from facedeploy.core.shown import shown

DIFFICULTIES = ("easy", "medium", "hard")
FACE_FILE = "wider_face_val.mat"
DIFFICULTY_FILES = {difficulty: f"wider_{difficulty}_val.mat" for difficulty in DIFFICULTIES}
GROUND_TRUTH_FILES = (FACE_FILE, *DIFFICULTY_FILES.values())
SOURCE = "the WIDER FACE evaluation toolkit (eval_tools.zip, folder ground_truth)"
LONGEST_PROBLEM = 150  # Characters in a message.

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ImageFaces:
    """The G labeled faces of one image.

    name is `<event>/<image>`, without suffix; boxes_xywh (G, 4) float64, x y w h in source px; counted (3, G) bool says
    which faces count as easy, medium, hard (the order of DIFFICULTIES): the others are ignored.
    """

    name: str
    boxes_xywh: npt.NDArray[np.float64]
    counted: npt.NDArray[np.bool_]

    @property
    def event(self) -> str:
        """The folder of the image."""
        return self.name.split("/")[0]


def load_ground_truth(folder: Path) -> tuple[ImageFaces, ...]:
    """Read the ground truth of every image, in the order of the files.

    Raises DataError when a file is missing, damaged, or disagrees with the others; DependencyError without scipy.
    """
    missing = [name for name in GROUND_TRUTH_FILES if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder}: {', '.join(missing)} not found: the four files of the ground truth come with {SOURCE}; "
            f"put them there, or name the folder that has them (-g)"
        )
    path = folder / FACE_FILE
    events, files, boxes = _read_cells(path, "event_list", "file_list", "face_bbx_list")
    sizes = [np.size(images) for images in files]
    if len(events) != len(sizes) or not sum(sizes):
        raise _malformed(path, f"it has {len(events)} events, and {len(sizes)} lists of {sum(sizes)} images")
    event_of_image = [event for event, size in zip(events, sizes, strict=True) for _ in range(size)]
    names = _convert(path, _name, event_of_image, _flat(path, files, sizes))
    faces = _convert(path, _boxes, _flat(path, boxes, sizes))
    counts = [len(each) for each in faces]
    masks = []
    for file_name in DIFFICULTY_FILES.values():
        (indices,) = _read_cells(folder / file_name, "gt_list")
        masks.append(_convert(folder / file_name, _mask, _flat(folder / file_name, indices, sizes), counts))
    counted = [np.stack(rows) for rows in zip(*masks, strict=True)]
    return tuple(ImageFaces(*fields) for fields in zip(names, faces, counted, strict=True))


def write_ground_truth(
    folder: Path,
    boxes_xywh: Mapping[str, npt.ArrayLike],
    *,
    easy: Mapping[str, Sequence[int]],
    medium: Mapping[str, Sequence[int]],
    hard: Mapping[str, Sequence[int]],
) -> None:
    """Write the four .mat files for images of one's own; `load_ground_truth` reads them back.

    `boxes_xywh` maps `<event>/<image>` (no suffix) to (G, 4), x y w h in source px. The others map it to the 0-based
    indices of the faces that count at that difficulty; an image left out has none. Raises ValueError for an index or
    a name that `boxes_xywh` does not have; DependencyError without scipy.
    """
    savemat = require("scipy.io", "eval", "writing .mat files").savemat
    faces = {name: np.asarray(boxes, np.float64).reshape(-1, 4) for name, boxes in boxes_xywh.items()}
    events: dict[str, list[str]] = {}
    for name in faces:
        event, _, image = name.partition("/")
        if not event or not image or "/" in image:
            raise ValueError(f"image name: got {name!r}, expected <event>/<image>")
        events.setdefault(event, []).append(name)

    names: dict[str, Any] = {
        "event_list": _column(list(events)),
        "file_list": _column([_column([name.partition("/")[2] for name in images]) for images in events.values()]),
        "face_bbx_list": _column([_column([faces[name] for name in images]) for images in events.values()]),
    }
    contents = {FACE_FILE: names}
    for difficulty, indices in zip(DIFFICULTIES, (easy, medium, hard), strict=True):
        if unknown := indices.keys() - faces.keys():
            raise ValueError(f"{difficulty}: no boxes are given for {', '.join(sorted(unknown))}")
        cells = {name: _one_based(f"{difficulty}: {name}", indices.get(name, ()), len(faces[name])) for name in faces}
        lists = _column([_column([cells[name] for name in images]) for images in events.values()])
        contents[DIFFICULTY_FILES[difficulty]] = {**names, "gt_list": lists}
    for file_name, content in contents.items():
        with atomic_path(folder / file_name) as temporary:
            savemat(temporary, content, appendmat=False, do_compression=True)


def _read_cells(path: Path, *keys: str) -> list[npt.NDArray[Any]]:
    """The cell arrays named `keys`, each flat: one entry an event."""
    loadmat = require("scipy.io", "eval", "reading .mat files").loadmat
    try:
        content = loadmat(path, variable_names=list(keys), appendmat=False)
    except Exception as error:  # A damaged file makes scipy raise nearly anything: zlib.error, KeyError, OverflowError.
        reason = shown(str(error) or type(error).__name__)
        raise DataError(f"{path}: cannot be read as a .mat file ({reason}): take it again from {SOURCE}") from error
    if absent := [key for key in keys if key not in content]:
        raise DataError(f"{path}: has no {', '.join(absent)}: take the file of this name from {SOURCE}")
    return [np.asarray(content[key]).ravel() for key in keys]


def _flat(path: Path, cells: npt.NDArray[Any], sizes: list[int]) -> list[Any]:
    """The cells of all images, from one list of them an event."""
    got = [np.size(images) for images in cells]
    if got != sizes:
        raise _malformed(path, f"{sum(got)} images in {len(got)} events, not {sum(sizes)} in {len(sizes)}")
    return [cell for images in cells for cell in np.ravel(images)]


def _convert(path: Path, convert: Callable[..., T], *columns: Sequence[Any]) -> list[T]:
    try:
        return [convert(*row) for row in zip(*columns, strict=True)]
    except (TypeError, ValueError) as error:
        raise _malformed(path, str(error)) from error


def _malformed(path: Path, problem: str) -> DataError:
    return DataError(
        f"{path}: damaged, or not of one set with {FACE_FILE} ({shown(problem, LONGEST_PROBLEM)}): "
        f"take all four files from {SOURCE}"
    )


def _name(event: Any, image: Any) -> str:
    return "/".join(str(np.asarray(cell).item()) for cell in (event, image))


def _boxes(cell: Any) -> npt.NDArray[np.float64]:
    if np.size(cell) == 0:
        return np.empty((0, 4))
    boxes = _numbers(cell)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise ValueError(f"boxes of an image: got shape {boxes.shape}, expected (faces, 4) finite numbers")
    return boxes


def _mask(cell: Any, faces: int) -> npt.NDArray[np.bool_]:
    """1-based indices of the faces that count -> (faces,)."""
    numbers = _numbers(cell).ravel() if np.size(cell) else np.empty(0)
    if not np.isin(numbers, np.arange(1, faces + 1)).all():
        raise ValueError(f"it counts a face that is not among the {faces} of its image")
    mask = np.zeros(faces, np.bool_)
    mask[numbers.astype(np.int64) - 1] = True
    return mask


def _numbers(cell: Any) -> npt.NDArray[np.float64]:
    array = np.asarray(cell)
    if array.dtype.kind not in "iufb":  # A complex number would become a real one, and text might a number.
        raise ValueError(f"a cell holds {array.dtype.name}, expected numbers")
    return array.astype(np.float64)


def _one_based(where: str, indices: Sequence[int], faces: int) -> npt.NDArray[np.int32]:
    if outside := [index for index in indices if not 0 <= index < faces]:
        raise ValueError(f"{where}: got index {outside[0]}, expected 0..{faces - 1}")
    return np.asarray([index + 1 for index in indices], np.int32).reshape(-1, 1)


def _column(items: Sequence[Any]) -> npt.NDArray[np.object_]:
    """A cell array (n, 1). Filled one by one: numpy would merge arrays of equal shape."""
    cells = np.empty((len(items), 1), np.object_)
    for row, item in enumerate(items):
        cells[row, 0] = item
    return cells
