"""FDDB's fold files: which images there are, and the ellipses of their faces."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedeploy.core.errors import DataError
from facedeploy.core.shown import shown
from facedeploy.fddb.blocks import read_blocks, read_lines

LISTS = "FDDB-fold-[0-9][0-9].txt"
ELLIPSES = "FDDB-fold-[0-9][0-9]-ellipseList.txt"
SOURCE = "FDDB-folds.tgz of vis-www.cs.umass.edu/fddb"
COLUMNS = ("major_radius", "minor_radius", "angle", "center_x", "center_y", "label")

FloatArray = npt.NDArray[np.float64]


def read_names(paths: Sequence[Path]) -> list[str]:
    """The images of fold files, or of a folder's `FDDB-fold-NN.txt`: paths without suffix, in order.

    Raises DataError for a file that cannot be read, has a line of several words, or repeats an image.
    """
    names: dict[str, str] = {}
    for path in _files(paths, LISTS):
        for line, name in read_lines(path, "the path of an image a line, without suffix"):
            if len(name.split()) > 1:
                raise DataError(f"{path}, line {line}: got {shown(name)}, expected the path of an image, one a line")
            if name in names:
                raise DataError(f"{path}, line {line}: got {shown(name)} a second time, after {names[name]}")
            names[name] = f"{path}, line {line}"
    return list(names)


def read_ellipses(paths: Sequence[Path]) -> dict[str, FloatArray]:
    """The faces of each image, in order, from ellipse lists, or a folder's `FDDB-fold-NN-ellipseList.txt`.

    (G, 5) float64 an image: major and minor radius, px; angle of the major axis from the x axis towards the y axis
    (down), radians; center x and y, px. Raises DataError for what is not so, and for an image that comes twice.
    """
    faces: dict[str, FloatArray] = {}
    for path in _files(paths, ELLIPSES):
        for name, block in read_blocks(path, COLUMNS).items():
            if name in faces:
                raise DataError(f"{path}, line {block.line}: got {shown(name)}, which an earlier file has too")
            if (block.rows[:, :2] <= 0).any():
                raise DataError(f"{path}, line {block.line}: {shown(name)} has a radius of 0 or less, expected more")
            faces[name] = block.rows[:, :5]
    return faces


def _files(paths: Sequence[Path], pattern: str) -> list[Path]:
    """The paths, with a folder's files of the pattern in its place."""
    files: list[Path] = []
    for path in paths:
        found = sorted(path.glob(pattern)) if path.is_dir() else [path]
        if not found:
            raise DataError(f"{path}: has no {pattern}: give the folder FDDB-folds ({SOURCE}), or files")
        files += found
    return files
