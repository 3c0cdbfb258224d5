"""How many threads a model's parallel loops use."""

import os
import threading

import tvm

_BIG_CORES = 1  # tvm's affinity mode; without binding it decides nothing.
_configured = threading.local()


def available_cores() -> int:
    """CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare_thread_pools() -> None:
    """To be called before a model runs. Environment variables of the user's own win.

    tvm would take half of the CPUs, on the assumption that they are hyper-threads, and bind the calling thread to one.
    """
    os.environ.setdefault("TVM_NUM_THREADS", str(available_cores()))
    os.environ.setdefault("TVM_BIND_THREADS", "0")


def use_threads(count: int) -> None:
    """Let what the calling thread runs from now on use `count` threads: tvm has a pool for each calling thread."""
    if getattr(_configured, "count", None) != count:
        tvm.get_global_func("runtime.config_threadpool")(_BIG_CORES, count)
        _configured.count = count
