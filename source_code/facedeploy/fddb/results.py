"""What a detector found in FDDB's images: one file in FDDB's form, or a folder of what `facedeploy run` writes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedeploy.core.errors import DataError
from facedeploy.core.files import write_text
from facedeploy.core.shown import listed, shown
from facedeploy.fddb.blocks import read_blocks

COLUMNS = ("x", "y", "w", "h", "score")
LINE = " ".join(["%.9g"] * len(COLUMNS)) + "\n"  # Brings every float32 back.
SUFFIX = ".txt"

FloatArray = npt.NDArray[np.float64]
Boxes = Mapping[str, FloatArray]  # (N, 5) an image: x y w h, source px, and score.


def read_results(path: Path) -> Boxes:
    """The boxes of each image of a file in FDDB's form. Raises DataError."""
    return {name: block.rows for name, block in read_blocks(path, COLUMNS).items()}


def gather_predictions(folder: Path, names: Sequence[str]) -> Boxes:
    """The boxes of those images of which `folder`/<name>.txt is there. Raises DataError for a file that is not so.

    Such a file is the one block of its image, as `facedeploy run` writes it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, expected the one that has <image>{SUFFIX} of every image")
    found: dict[str, FloatArray] = {}
    for name in names:
        path = folder / f"{name}{SUFFIX}"
        if not path.is_file():
            continue
        blocks = read_blocks(path, COLUMNS)
        (inside, block), *more = blocks.items()
        if more or inside.rpartition("/")[2] != name.rpartition("/")[2]:
            raise DataError(f"{path}: got predictions of {shown(listed(list(blocks)))}, expected those of {name} alone")
        found[name] = block.rows
    return found


def complete(found: Boxes, names: Sequence[str], source: Path, allow_missing: bool) -> tuple[Boxes, list[str]]:
    """The boxes of exactly `names`, in their order, and those that `found` lacks.

    Raises DataError for these, unless with `allow_missing` they count as images without detections.
    """
    missing = [name for name in names if name not in found]
    if missing and not allow_missing:
        raise DataError(
            f"{source}: {len(missing)} of {len(names)} images have no predictions: {listed(missing)}; run them too, or "
            "count them as images without detections (--allow-missing)"
        )
    nothing = np.empty((0, len(COLUMNS)))
    return {name: found.get(name, nothing) for name in names}, missing


def write_results(path: Path, boxes: Boxes) -> None:
    """Write FDDB's form, the images in the order of `boxes`. Raises DataError when the file cannot be written."""
    write_text(
        path,
        "".join(
            f"{name}\n{len(rows)}\n" + LINE * len(rows) % tuple(rows.ravel().tolist()) for name, rows in boxes.items()
        ),
    )
