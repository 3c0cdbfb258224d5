"""float32 numbers in 16 bits, IEEE's or bfloat16's, and back. Rounding is to nearest, ties to even."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Half = Literal["float16", "bfloat16"]
FloatArray = npt.NDArray[np.float32]

# numpy has no bfloat16: its bits are the upper half of a float32's.
STORAGE: dict[Half, np.dtype[Any]] = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(np.uint16)}
_BITS = 16
_NAN = 0x7FC0


def to_half(numbers: FloatArray, half: Half) -> npt.NDArray[Any]:
    """The nearest numbers that `half` has, in its `STORAGE`. Past its range that is infinity."""
    if half == "float16":
        with np.errstate(over="ignore"):
            return numbers.astype(np.float16)
    bits = np.ascontiguousarray(numbers).view(np.uint32)
    # Just less than half a step, and the last bit that stays: a tie is carried where that bit is odd.
    rounded = (bits + (2 ** (_BITS - 1) - 1) + ((bits >> _BITS) & 1)) >> _BITS
    return np.where(np.isnan(numbers), _NAN, rounded).astype(np.uint16)


def from_half(stored: npt.NDArray[Any], half: Half, out: FloatArray) -> None:
    """Write the numbers that `to_half` has stored to `out`, exactly."""
    if half == "float16":
        out[...] = stored
    else:
        np.left_shift(stored, _BITS, out=out.view(np.uint32), dtype=np.uint32)
