"""Lines of plain decimals <-> numbers, for millions of them: numpy's own readers are slow beyond 15 digits, and C's
formats take longer than finding the faces did.
"""

import numpy as np
import numpy.typing as npt

from facedeploy.config.json_text import json_bytes

PLAIN = b"0123456789.- \t\r\n"
BLANK, MINUS, POINT, NEWLINE, ZERO = np.frombuffer(b" -.\n0", np.uint8)
POWERS = 10.0 ** np.arange(23)  # Exact in float64 up to here.
STEPS = 10.0 ** np.arange(-3, 9)
LARGEST = 10**18

DIGITS = 9  # Significant ones that are written: they bring every float32 back; more would only cost bytes and time.
FORMAT = f"%.{DIGITS}g"
NEAR_TIE = 1e-6  # Of one unit in the last place; what a product of float64 may be off is below a tenth of that.


def parse_decimals(text: str, columns: int) -> npt.NDArray[np.float64] | None:
    """`columns` numbers a line -> (lines, columns), or None where a line is not that many plain decimals.

    None may mean a mistake, or just a form that is rare here (1e-05, a blank line, 19 digits): look more slowly. A
    number is read as an integer, without its point, and divided by a power of 10: correctly rounded up to 15 digits,
    within 2 units in the last place beyond.
    """
    data = (text.strip() + "\n").encode()
    if data.translate(None, PLAIN):
        return None
    chars = np.frombuffer(data, np.uint8)
    blank, digit = chars <= BLANK, chars - ZERO < 10
    ends = np.flatnonzero(blank[1:] & ~blank[:-1])  # The last character of each number.
    newlines, minus, points = (np.flatnonzero(chars == each) for each in (NEWLINE, MINUS, POINT))
    if not np.array_equal(np.searchsorted(ends, newlines), np.arange(1, len(newlines) + 1) * columns):
        return None
    # A minus begins a number, a point has a digit beside it. Before the first character comes the last, a newline.
    if not ((blank[minus - 1] & digit[minus + 1]).all() and (digit[points - 1] | digit[points + 1]).all()):
        return None
    numbers = np.searchsorted(ends, points)  # The number each point is in.
    places = np.zeros(len(ends), np.intp)
    places[numbers] = ends[numbers] - points
    if (numbers[1:] == numbers[:-1]).any() or places.max() >= len(POWERS):
        return None
    mantissas = np.fromstring(data.translate(None, b"."), np.int64, sep=" ")
    if mantissas.max() > LARGEST or mantissas.min() < -LARGEST:  # What does not fit 64 bits has become their limit.
        return None
    return (mantissas / POWERS[places]).reshape(-1, columns)


def format_decimals(table: npt.NDArray[np.float64]) -> str:
    """Finite numbers (lines, columns) -> text, a blank between two, each as `FORMAT` writes it.

    They are rounded to so many digits first, since the shortest text of the float64 that is nearest to a decimal of up
    to 15 digits is that decimal.
    """
    size = np.abs(table)
    if not table.size or size.min() < POWERS[0] / POWERS[4] or size.max() >= POWERS[DIGITS - 1]:
        line = " ".join([FORMAT] * table.shape[1]) + "\n"  # Forms that are rare here: 0, 1e-05, 1e+09.
        return line * len(table) % tuple(table.ravel().tolist())
    # Digits behind the point; one more for each power of 10 that a number is below.
    power = POWERS[DIGITS + 3 - np.searchsorted(STEPS, size, "right")]
    scaled = table * power
    whole = np.rint(scaled)
    rounded = whole / power
    ties = np.abs(np.abs(scaled - whole) - 0.5) < NEAR_TIE
    if ties.any():  # Where the product's own rounding could decide.
        rounded[ties] = [float(FORMAT % number) for number in table[ties].tolist()]
    lines = json_bytes(rounded.tolist())[2:-2].replace(b"],[", b"\n").replace(b",", b" ") + b"\n"
    return lines.replace(b".0 ", b" ").replace(b".0\n", b"\n").decode()
