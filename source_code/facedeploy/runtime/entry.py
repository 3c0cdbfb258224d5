"""One compiled function of an artifact, called with numpy arrays."""

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import tvm_ffi

from facedeploy.artifact.manifest import Rung
from facedeploy.runtime.input_array import InputArray
from facedeploy.runtime.memory import Bytes, huge
from facedeploy.runtime.results import Array, Results, in_use
from facedeploy.runtime.threads import use_threads

REFUSALS = ValueError, TypeError, BufferError, RuntimeError  # Of an array that an entry cannot read: numpy's and tvm's.


class Buffers:
    """What one call at a time writes to: a workspace, results, a copy of an input that code cannot read as it lies."""

    def __init__(self, rung: Rung, parameters: Bytes, input_array: InputArray) -> None:
        self.input = input_array
        self.workspace = huge(rung.workspace_bytes)
        self.regions = tvm_ffi.from_dlpack(parameters), tvm_ffi.from_dlpack(self.workspace)
        self._outputs = rung.outputs
        self._results: list[Results] = []

    def free_results(self) -> Results:
        """Results that nobody refers to."""
        for results in self._results:
            if not in_use(results.watched, results.unused):
                return results
        self._results.append(Results(self._outputs))
        return self._results[-1]

    def lend(self) -> "Lent":
        """What a call needs, with results that nobody refers to yet."""
        results = self.free_results()
        return self, results.watched, results.unused, results.arrays, *self.regions, results.tensor


# Buffers; `watched`, `unused` and `arrays` of their Results; parameters, workspace and outputs as functions take them.
# Flat, since each object that a call goes through has left the caches: this takes 15 us less than attributes.
Lent = tuple[Buffers, tuple[Array, ...], int, dict[str, Array], Any, Any, Any]


class Entry:
    """A function from one input to all outputs. Threads may call it side by side: each call has buffers of its own."""

    def __init__(self, function: Any, new_buffers: Callable[[], Buffers], threads: int) -> None:
        """`threads` is how many threads one call uses."""
        first = new_buffers()
        # Whoever takes buffers off this list has them alone, at less cost than a lock's.
        self._idle: list[Lent] = [first.lend()]
        self.function = function
        self._anywhere = first.input.anywhere
        self._threads = threads
        self._new_buffers = new_buffers

    def call(self, array: npt.NDArray[Any]) -> dict[str, Array]:
        """The outputs by name. Raises ShapeError for another shape or dtype."""
        # Little and plain Python, since every line of it has left the caches while the kernels ran.
        try:
            lent = self._idle.pop()
        except IndexError:
            lent = self._new_buffers().lend()
        try:
            buffers, watched, unused, arrays, parameters, workspace, outputs = lent
            if in_use(watched, unused):
                lent = buffers.lend()
                buffers, watched, unused, arrays, parameters, workspace, outputs = lent
            use_threads(self._threads)
            # What may lie anywhere, nobody has to look at before.
            tensor = array if self._anywhere else buffers.input.readable(array)
            try:
                self.function(tensor, parameters, workspace, outputs)
            except REFUSALS:
                # The entry checks what it is given, before anything else. It cannot say it in our words, or copy.
                self.function(buffers.input.readable(array), parameters, workspace, outputs)
            return arrays.copy()
        finally:
            self._idle.append(lent)

    def idle_buffers(self) -> Buffers:
        """The buffers of the next call, unless another thread takes them first."""
        if not self._idle:
            self._idle.append(self._new_buffers().lend())
        return self._idle[-1][0]
