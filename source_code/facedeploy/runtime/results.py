"""Arrays for the outputs of one call after another."""

import ctypes
from collections.abc import Callable, Sequence
from sys import getrefcount
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm_ffi

from facedeploy.artifact.manifest import ALIGNMENT, lay_out
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.runtime.memory import Bytes, huge

Array = npt.NDArray[Any]


class Results:
    """Memory of one call's outputs, with an array for each, to be used again once nobody else refers to a part of it.

    Making such arrays anew takes 100 us where a model has just used the caches, which is 3 % of a small one.
    """

    def __init__(self, outputs: Sequence[TensorSpec], memory: Callable[[int], Bytes] = huge) -> None:
        offsets, size = lay_out(output.bytes for output in outputs)
        # What numpy derives from an array refers to it, or to the first array below it that lies on memory that is not
        # numpy's. So with memory of ctypes below, all views refer to this array, or to one of those handed out.
        below: Any = (ctypes.c_uint8 * size).from_buffer(memory(size).data)
        self.memory = np.frombuffer(below, np.uint8)
        self.tensor = tvm_ffi.from_dlpack(self.memory, require_alignment=ALIGNMENT)
        self.arrays: dict[str, Array] = {
            output.name: np.ndarray(output.shape, output.dtype, self.memory, offset)
            for output, offset in zip(outputs, offsets, strict=True)
        }
        self.tensors = tuple(map(tvm_ffi.from_dlpack, self.arrays.values()))  # The arrays, as functions take them.
        self.watched: tuple[Array, ...] = (self.memory, *self.arrays.values())
        self.unused = sum(map(getrefcount, self.watched))


def in_use(watched: tuple[Array, ...], unused: int) -> bool:
    """Whether somebody else holds one of a result's arrays, or a view of one, given its `watched` and `unused`."""
    return sum(map(getrefcount, watched)) != unused


Taken = tuple[tuple[Array, ...], tuple[Any, ...]]  # Arrays, and the same as functions take them.


class Pool:
    """Results for whoever asks, in any thread; at most `most` of them are kept to be used again."""

    def __init__(self, outputs: Sequence[TensorSpec], most: int = 16, memory: Callable[[int], Bytes] = huge) -> None:
        self._outputs, self._most, self._memory = outputs, most, memory
        self._kept: list[Results] = []
        self._lock = Lock()

    def take(self) -> Taken:
        """Arrays of any content that nobody else refers to, and their tensors."""
        with self._lock:  # Until the caller refers to them, others would find them free.
            # The first that is free is the one that is used most, so that the caches may still have it.
            for results in self._kept:
                if not in_use(results.watched, results.unused):
                    break
            else:
                results = Results(self._outputs, self._memory)
                if len(self._kept) < self._most:
                    self._kept.append(results)
            return results.watched[1:], results.tensors
