"""What this machine can do at most, measured by small kernels compiled for the target of an artifact."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import tvm

from facedeploy.compiler.interrupt import interrupts_kept
from facedeploy.compiler.kernels.peaks import SUMS, multiply_add_loop, triad_loop
from facedeploy.compiler.target import Target

STEPS = 50_000  # About 0.2 ms: short enough to fall between two interruptions.
PIECES = 64
PIECE_BYTES = 1 << 20  # Of each of the three arrays, for one thread.


class Peaks:
    """Measures the peaks of `threads` threads. tvm's pool of the calling thread must hold so many.

    The three arrays together are 192 MiB a thread: by the time a piece is read again, no cache holds it.
    """

    def __init__(self, target: Target, threads: int) -> None:
        lanes = target.float32_lanes
        vectors = PIECE_BYTES // 4 // lanes
        loops = {
            "multiply_adds": multiply_add_loop("multiply_adds", threads, lanes, STEPS),
            "triad": triad_loop("triad", threads, lanes, vectors),
        }
        functions = {name: loop.with_attr("global_symbol", name) for name, loop in loops.items()}
        with interrupts_kept():
            library = tvm.compile(tvm.IRModule(functions), target=target.tvm_target)
            self._multiply_adds, self._triad = library["multiply_adds"], library["triad"]
        # Different numbers in every register, or they would be computed once.
        self._sums = _filled((SUMS, lanes)), tvm.runtime.empty((threads, SUMS, lanes), "float32")
        self._pieces = [tuple(_filled((threads, vectors, lanes)) for _ in "bca") for _ in range(PIECES)]
        self._operations = 2.0 * threads * STEPS * SUMS * lanes
        self._bytes = 3.0 * threads * PIECE_BYTES

    def gflops(self) -> float:
        """Float32 peak, GFLOP/s; a multiply-add is two operations. The median of some short runs."""
        return self._operations / median(_nanoseconds(self._multiply_adds, self._sums) for _ in range(5))

    def gigabytes_per_second(self) -> float:
        """Memory bandwidth, GB/s: the median of all pieces, two read and one written, as STREAM counts it."""
        return self._bytes / median(_nanoseconds(self._triad, piece) for piece in self._pieces)


def _filled(shape: tuple[int, ...]) -> Any:
    tensor = tvm.runtime.empty(shape, "float32")
    view = np.from_dlpack(tensor)
    view.reshape(-1)[:] = np.linspace(0, 1, view.size, dtype=np.float32)
    return tensor


def _nanoseconds(function: Callable[..., None], arguments: tuple[Any, ...]) -> int:
    begun = time.perf_counter_ns()
    function(*arguments)
    return time.perf_counter_ns() - begun
