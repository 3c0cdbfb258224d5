"""Arrays for the outputs of one call after another."""

import ctypes
from collections.abc import Sequence
from sys import getrefcount
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm_ffi

from facedeploy.artifact.manifest import ALIGNMENT, lay_out
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.runtime.memory import huge

Array = npt.NDArray[Any]


class Results:
    """Memory of one call's outputs, with an array for each, to be used again once nobody else refers to a part of it.

    Making such arrays anew takes 100 us where a model has just used the caches, which is 3 % of a small one.
    """

    def __init__(self, outputs: Sequence[TensorSpec]) -> None:
        offsets, size = lay_out(output.bytes for output in outputs)
        # What numpy derives from an array refers to it, or to the first array below it that lies on memory that is not
        # numpy's. So with memory of ctypes below, all views refer to this array, or to one of those handed out.
        below: Any = (ctypes.c_uint8 * size).from_buffer(huge(size).data)
        self.memory = np.frombuffer(below, np.uint8)
        self.tensor = tvm_ffi.from_dlpack(self.memory, require_alignment=ALIGNMENT)
        self.arrays: dict[str, Array] = {
            output.name: np.ndarray(output.shape, output.dtype, self.memory, offset)
            for output, offset in zip(outputs, offsets, strict=True)
        }
        self.watched: tuple[Array, ...] = (self.memory, *self.arrays.values())
        self.unused = sum(map(getrefcount, self.watched))


def in_use(watched: tuple[Array, ...], unused: int) -> bool:
    """Whether somebody else holds one of a result's arrays, or a view of one, given its `watched` and `unused`."""
    return sum(map(getrefcount, watched)) != unused
