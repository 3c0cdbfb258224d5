"""One inference, kernel by kernel: run again and timed as often as wished."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import tvm

from facedeploy.artifact.manifest import KernelCall
from facedeploy.runtime.threads import use_threads

COST_SAMPLES = 20


class Trace:
    """The kernels that `main` calls, in order, with the memory that `infer` uses too.

    Timing them from outside, one by one, costs about a microsecond a call, which is measured and taken off.
    """

    def __init__(
        self,
        library: Any,
        calls: Sequence[KernelCall],
        tensors: Sequence[list[Any]],
        main: Callable[[], object],
        threads: int,
    ) -> None:
        """`tensors` are the arguments of each call; `main` makes them all."""
        self.calls = calls
        self.main = main
        self.tensors = tensors
        self._threads = threads
        self._functions = [library.get_function(call.kernel.name, True) for call in calls]
        # Next to nothing is called with the arguments of each kernel: it makes a list of them.
        nothing = [tvm.get_global_func("ffi.Array")] * len(calls)
        samples = zip(*(self._time(nothing) for _ in range(COST_SAMPLES)), strict=True)
        self.cost_us = tuple(median(sample) for sample in samples)

    def steps(self) -> Iterator[int]:
        """Run the kernels once; yields each one's place when it has written, before another may write there too."""
        use_threads(self._threads)
        for place, (function, arguments) in enumerate(zip(self._functions, self.tensors, strict=True)):
            function(*arguments)
            yield place

    def microseconds(self) -> list[float]:
        """Run every kernel once, in order; the time of each, less `cost_us`, which calling it from Python takes."""
        use_threads(self._threads)
        times = self._time(self._functions)
        return [max(0.0, spent - cost) for spent, cost in zip(times, self.cost_us, strict=True)]

    def _time(self, functions: Sequence[Callable[..., object]]) -> list[float]:
        stamps = [time.perf_counter_ns()]
        for function, arguments in zip(functions, self.tensors, strict=True):
            function(*arguments)
            stamps.append(time.perf_counter_ns())
        return [(after - before) / 1000 for before, after in pairwise(stamps)]
