"""How long kernels that compute the same take on this machine."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import quantiles
from typing import Any

import numpy as np
import tvm

from facedeploy.compiler.interrupt import interrupts_kept
from facedeploy.compiler.kernels.blocked.candidates import Candidate
from facedeploy.compiler.pipeline import BUILT_KERNELS
from facedeploy.compiler.target import Target, host_features
from facedeploy.core.amx import FEATURE, request_amx
from facedeploy.core.cores import available_cores
from facedeploy.core.errors import CompileError

SECONDS = 0.5  # For all candidates of a kernel together, as far as ROUNDS allow.
ROUNDS = 7, 40  # At least, at most.
EVICTED_BYTES = 8 << 20  # More than any L2 of these targets holds.
ACTIVATIONS = "source", "residual", "out"  # How the arguments that are no weights are called.


def microseconds_of(candidates: Sequence[Candidate], target: Target, threads: int) -> list[float]:
    """Of one call of each, on random numbers: the first quartile of rounds in which they take turns.

    As in a net, a call finds its activations in the caches, as far as they fit, and the weights not in L2. What
    disturbs a call only makes it longer, hence the quartile; one thread is timed by what it computes itself. Raises
    CompileError where this CPU cannot run code for `target`.
    """
    _check_runnable(target)
    functions = [candidate.build("candidate").with_attr("global_symbol", "candidate") for candidate in candidates]
    with interrupts_kept():
        pool = ThreadPoolExecutor(available_cores())
        try:
            kernels = list(pool.map(partial(_compiled, target=target), functions))
        finally:
            pool.shutdown(cancel_futures=True)
    # In a thread of its own: tvm has a pool of threads for each thread that calls.
    with ThreadPoolExecutor(1, initializer=_use_threads, initargs=(threads,)) as caller:
        clock = time.thread_time_ns if threads == 1 else time.perf_counter_ns
        return caller.submit(_take_turns, kernels, functions, clock).result()


def _check_runnable(target: Target) -> None:
    has = host_features()
    missing = [feature for feature in target.features if not has.get(feature, False)]
    if missing:
        raise CompileError(
            f"backend.tune: the target {target.name} has features that this CPU lacks ({', '.join(missing)}), so that "
            "its kernels cannot be measured here: compile on such a machine, or set backend.tune false"
        )
    if FEATURE in target.features:
        request_amx()


def _compiled(function: Any, target: Target) -> Any:
    library = tvm.tirx.build(tvm.IRModule({"candidate": function}), target=target.tvm_target, pipeline=BUILT_KERNELS)
    return library["candidate"]


def _use_threads(count: int) -> None:
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    os.environ.setdefault("TVM_NUM_THREADS", str(available_cores()))
    tvm.get_global_func("runtime.config_threadpool")(1, count)


def _take_turns(kernels: Sequence[Any], functions: Sequence[Any], clock: Callable[[], int]) -> list[float]:
    tensors: dict[tuple[str, tuple[int, ...], str], Any] = {}  # Shared by those that agree on them.
    calls: list[Callable[[], float]] = []
    other = np.ones(EVICTED_BYTES // 4, np.float32)
    for kernel, function in zip(kernels, functions, strict=True):
        keys = [
            (str(parameter.name), tuple(map(int, parameter.shape)), str(parameter.dtype))
            for parameter in function.params
        ]
        for key in keys:
            if key not in tensors:
                tensors[key] = _random(*key[1:])
        arguments = [tensors[key] for key in keys]
        recent = [np.from_dlpack(tensors[key]) for key in keys if key[0].startswith(ACTIVATIONS)]
        calls.append(partial(_timed, kernel, arguments, [other, *recent], clock))
    for call in calls:
        call()
    first = [call() for call in calls]
    rounds = max(ROUNDS[0], min(ROUNDS[1], int(SECONDS * 1e6 / sum(first))))
    taken = [[call() for call in calls] for _ in range(rounds)]
    return [quantiles(column, n=4)[0] for column in zip(*taken, strict=True)]


def _timed(kernel: Any, arguments: Sequence[Any], before: Sequence[Any], clock: Callable[[], int]) -> float:
    for array in before:
        array.max()
    begun = clock()
    kernel(*arguments)
    return (clock() - begun) / 1000


def _random(shape: tuple[int, ...], dtype: str) -> Any:
    tensor, rng = tvm.runtime.empty(shape, dtype), np.random.default_rng(0)
    integer = np.dtype(dtype).kind in "iu"
    np.from_dlpack(tensor)[...] = rng.integers(0, 128, shape) if integer else rng.random(shape, np.float32) - 0.5
    return tensor
