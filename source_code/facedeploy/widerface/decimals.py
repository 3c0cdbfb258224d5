"""Lines of plain decimals -> numbers, for millions of them: numpy's own readers are slow beyond 15 digits."""

import numpy as np
import numpy.typing as npt

PLAIN = b"0123456789.- \t\r\n"
BLANK, MINUS, POINT, NEWLINE, ZERO = np.frombuffer(b" -.\n0", np.uint8)
POWERS = 10.0 ** np.arange(23)  # Exact in float64 up to here.
LARGEST = 10**18


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
