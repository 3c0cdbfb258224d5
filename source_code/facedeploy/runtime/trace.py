"""One inference, kernel by kernel: recorded once, run again and timed as often as wished."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import tvm

from facedeploy.runtime.threads import use_threads

COST_SAMPLES = 20
BUILTIN = "vm."  # What the VM calls for itself: memory, shapes, checks.


@dataclass(frozen=True)
class KernelCall:
    """A call of compiled code. `bytes` is the size of its arguments and results together."""

    name: str
    function: Callable[..., None]
    arguments: tuple[Any, ...]

    @property
    def bytes(self) -> int:
        """Of all tensors among the arguments, weights and results included."""
        tensors = [argument for argument in self.arguments if isinstance(argument, tvm.runtime.Tensor)]
        return sum(int(np.prod(tensor.shape)) * np.dtype(str(tensor.dtype)).itemsize for tensor in tensors)


class Trace:
    """The kernels that one inference called, in order, with the very tensors: calling them again computes the same.

    Timing them from outside, one by one, costs about a microsecond a call, which is measured and taken off. The VM's
    own hook, called from inside, would cost several, since it hands over every argument before and after each call.
    """

    def __init__(self, machine: Any, run: Callable[[], object], copy_input: Callable[[], object], threads: int) -> None:
        """Record what `machine` calls while `run` runs. `copy_input` copies the input to where the kernels read it."""
        self._threads = threads
        self.copy_input = copy_input
        self.calls: list[KernelCall] = []

        def record(function: Any, name: str, before: bool, _result: object, *arguments: Any) -> int:
            if before and not name.startswith(BUILTIN):
                self.calls.append(KernelCall(name, function, arguments))
            return 0  # Go on.

        machine.set_instrument(record)
        try:
            run()
        finally:
            machine.set_instrument(None)
        # Next to nothing is called with the arguments of each kernel: it makes a list of them.
        nothing = [tvm.get_global_func("ffi.Array")] * len(self.calls)
        samples = zip(*(self._time(nothing) for _ in range(COST_SAMPLES)), strict=True)
        self.cost_us = tuple(median(sample) for sample in samples)

    def microseconds(self) -> list[float]:
        """Run every kernel once, in order; the time of each, less `cost_us`, which calling it from Python takes.

        `copy_input` before this puts the caches in the state in which a call finds them.
        """
        use_threads(self._threads)
        times = self._time([call.function for call in self.calls])
        return [max(0.0, spent - cost) for spent, cost in zip(times, self.cost_us, strict=True)]

    def _time(self, functions: Sequence[Callable[..., object]]) -> list[float]:
        stamps = [time.perf_counter_ns()]
        for function, call in zip(functions, self.calls, strict=True):
            function(*call.arguments)
            stamps.append(time.perf_counter_ns())
        return [(after - before) / 1000 for before, after in pairwise(stamps)]
