"""WIDER FACE prediction files: `<event>/<image>`, the number of boxes, then `x y w h score` a line."""

import io
import re
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from facedeploy.core.detections import Detections
from facedeploy.core.errors import DataError, ImageError
from facedeploy.core.files import write_text
from facedeploy.widerface.decimals import parse_decimals

COLUMNS = ("x", "y", "w", "h", "score")
# Nine significant digits bring every float32 back; more would only cost bytes and parsing time.
LINE = " ".join(["%.9g"] * len(COLUMNS)) + "\n"


@dataclass(frozen=True, eq=False)
class Predictions:
    """N boxes of one image, in the order of the file.

    name is the file's first line; boxes_xywh (N, 4) float64, x y w h in source px; scores (N,) float64.
    """

    name: str
    boxes_xywh: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]

    @classmethod
    def empty(cls, name: str) -> "Predictions":
        """No box."""
        return cls(name, np.empty((0, 4)), np.empty(0))


def write_predictions(path: str | Path, name: str, detections: Detections) -> None:
    """Write one image's detections, best score first (ties as given), in source px; nothing is clipped.

    `name` is `<event>/<image>` without suffix. x, y and score return as the same float32; w and h are differences of
    the corners in float64 and return within 1e-8 of their size. Raises ImageError for a value that is not finite,
    and DataError for a file that cannot be written.
    """
    # Python's float64, without arrays: numpy's code has left the caches while the model ran.
    faces = zip(detections.boxes.tolist(), detections.scores.tolist(), strict=True)
    numbers: list[float] = []
    for (x1, y1, x2, y2), score in sorted(faces, key=itemgetter(1), reverse=True):
        numbers += x1, y1, x2 - x1, y2 - y1, score
    count = len(detections)
    lines = LINE * count % tuple(numbers)
    if "n" in lines:  # nan, inf
        bad = sum("n" in line for line in lines.splitlines())
        raise ImageError(f"{name}: {bad} of {count} detections are not finite numbers: {path} is not written")
    write_text(path, f"{name}\n{count}\n{lines}")


def read_predictions(path: Path) -> Predictions:
    """Read one file; blank lines after the second do not matter, everything else must be as the format says.

    The order of the lines is kept, whatever the scores: the protocol walks through the boxes in the file's order.
    Raises DataError naming the file and the line.
    """
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: got bytes that are not text, expected a prediction file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if not text.strip():
        raise DataError(f"{path}, line 1: got an empty file, expected <event>/<image>, the number of boxes, the boxes")
    name, count_line, body = [*text.split("\n", 2), "", ""][:3]
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", count_line):
        raise DataError(f"{path}, line 2: got {_shown(count_line)}, expected the number of boxes")
    count = int(count_line)
    if count == 0 and not body.strip():
        return Predictions.empty(name.strip())
    table = _parse(body)
    if table is None or table.shape != (count, len(COLUMNS)) or not np.isfinite(table).all():
        _explain(path, count, body)
    return Predictions(name.strip(), table[:, :4], table[:, 4])


def _parse(body: str) -> npt.NDArray[np.float64] | None:
    """Rows of numbers, or None where lines differ in length or hold anything else. The quick way, without reasons."""
    table = parse_decimals(body, len(COLUMNS))
    if table is not None or not body.strip():
        return table
    try:
        return np.loadtxt(io.StringIO(body), dtype=np.float64, comments=None, ndmin=2)
    except ValueError:
        return None


def _explain(path: Path, count: int, body: str) -> NoReturn:
    """Raise DataError for the first wrong line."""
    lines = [(number, line) for number, line in enumerate(body.split("\n"), start=3) if line.strip()]
    for number, line in lines:
        words = line.split()
        if len(words) != len(COLUMNS):
            raise DataError(
                f"{path}, line {number}: got {len(words)} columns ({_shown(line)}), expected {len(COLUMNS)}: "
                f"{' '.join(COLUMNS)}"
            )
        for column, word in zip(COLUMNS, words, strict=True):
            row = _parse(word)
            if row is None or not np.isfinite(row).all():
                raise DataError(f"{path}, line {number}: got {_shown(word)} for {column}, expected a finite number")
    raise DataError(f"{path}, line 2: got a count of {count}, but {len(lines)} lines of boxes follow: they must agree")


def _shown(text: str, limit: int = 40) -> str:
    """`text` in quotes, short, with control characters escaped."""
    text = text.strip()
    return repr(text if len(text) <= limit else text[:limit] + "...")
