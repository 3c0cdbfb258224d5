"""The form that FDDB's files share: the name of an image, how many lines follow, and that many lines of numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedeploy.core.errors import DataError
from facedeploy.core.shown import shown

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Block:
    """What a file says of one image: rows (N, columns) float64; `line` is that of the name."""

    name: str
    rows: FloatArray
    line: int


def read_lines(path: Path, expected: str) -> list[tuple[int, str]]:
    """The lines that are not blank, stripped, with their numbers. Raises DataError; there is at least one."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: got bytes that are not text, expected {expected}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), expected {expected}") from error
    stripped = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
    lines = [(number, line) for number, line in stripped if line]
    if not lines:
        raise DataError(f"{path}, line 1: got an empty file, expected {expected}")
    return lines


def read_blocks(path: Path, columns: Sequence[str]) -> dict[str, Block]:
    """Every block of a file by its name, in the order of the file. Blank lines do not matter.

    Raises DataError naming the file and the line: a count that is none or does not agree with the lines after it, a
    line that is not a finite number for each of `columns`, an image that comes twice.
    """
    expected = f"for each image its name, a count, and that many lines of {' '.join(columns)}"
    lines = read_lines(path, expected)
    blocks: dict[str, Block] = {}
    place = 0
    while place < len(lines):
        line, name = lines[place]
        if _row(name, columns) is not None:
            raise DataError(
                f"{path}, line {line}: got numbers ({shown(name)}), expected the name of the next image: the count "
                "before is too small"
            )
        if name in blocks:
            raise DataError(
                f"{path}, line {line}: got {shown(name)} a second time, after line {blocks[name].line}: expected "
                "every image once"
            )
        count = _count(path, lines, place + 1, name)
        rows = [_read_row(path, lines, place + 2 + index, columns, name, count) for index in range(count)]
        blocks[name] = Block(name, np.array(rows, np.float64).reshape(count, len(columns)), line)
        place += 2 + count
    return blocks


def _count(path: Path, lines: Sequence[tuple[int, str]], place: int, name: str) -> int:
    if place == len(lines):
        raise DataError(f"{path}: ends after the name {shown(name)}, expected the number of its lines")
    line, text = lines[place]
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise DataError(f"{path}, line {line}: got {shown(text)}, expected the number of lines of {shown(name)}")
    return int(text)


def _read_row(
    path: Path, lines: Sequence[tuple[int, str]], place: int, columns: Sequence[str], name: str, count: int
) -> list[float]:
    if place >= len(lines):
        raise DataError(f"{path}: ends too soon, expected {count} lines of {' '.join(columns)} for {shown(name)}")
    line, text = lines[place]
    row = _row(text, columns)
    if row is None:
        raise DataError(
            f"{path}, line {line}: got {shown(text)}, expected {len(columns)} finite numbers, {' '.join(columns)}, one "
            f"of {count} lines for {shown(name)}"
        )
    return row


def _row(text: str, columns: Sequence[str]) -> list[float] | None:
    """A finite number for each column, or None."""
    if "_" in text or not text.isascii():  # Which Python's float takes.
        return None
    try:
        row = [float(word) for word in text.split()]
    except ValueError:
        return None
    return row if len(row) == len(columns) and all(map(isfinite, row)) else None
