"""Arrays of callers, as compiled code can read them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.core.errors import ShapeError
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.runtime.memory import Bytes, huge


class InputArray:
    """One input of an artifact. Code needs its address to be a multiple of `alignment` bytes.

    `anywhere`: any address that numpy calls aligned is one.
    """

    def __init__(self, spec: TensorSpec, alignment: int, of: object) -> None:
        """`of` is what errors call the artifact."""
        self._spec, self._of = spec, of
        self._shape, self._dtype, self._alignment = spec.shape, np.dtype(spec.dtype), alignment
        self.anywhere = alignment <= self._dtype.itemsize
        self._buffer: Bytes | None = None

    def readable(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The array itself, or its numbers in a buffer of ours where code cannot read them as they lie.

        Raises ShapeError for another shape or dtype than the artifact's.
        """
        if array.shape != self._shape or array.dtype != self._dtype:
            raise ShapeError(
                f"{self._spec.name}: got {array.dtype}{list(array.shape)}; {self._of} holds one size: "
                f"{self._dtype}{list(self._shape)} (compile it again for another canvas or batch)"
            )
        flags = array.flags
        aligned = flags.aligned if self.anywhere else array.ctypes.data % self._alignment == 0
        if aligned and flags.c_contiguous and flags.writeable:  # numpy lends tvm no read-only array.
            return array
        if self._buffer is None:
            self._buffer = huge(self._spec.bytes)
        view = np.ndarray(self._shape, self._dtype, self._buffer)
        np.copyto(view, array)
        return view
