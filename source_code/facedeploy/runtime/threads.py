"""How many threads a model's parallel loops use."""

import os
import threading
from collections.abc import Sequence

import tvm

from facedeploy.core.cores import available_cores
from facedeploy.core.errors import DeviceError
from facedeploy.runtime.device import Device

_BIG_CORES = 1  # tvm's affinity mode; without binding it decides nothing.
_POOL_SIZE = "TVM_NUM_THREADS"
# How often a pool's thread looks for work before it sleeps, about a microsecond each time. tvm's 300,000 take a CPU for
# 0.3 s after the last loop, and after a pool is made, even for calls that use one thread. Some 2 ms are longer than the
# gaps between the loops of a call, so that calls on two threads take as long as before.
_SPINS = "TVM_THREAD_POOL_SPIN_COUNT", "2000"


class _Configured(threading.local):
    count: int | None = None  # Of the calling thread's pool.


_configured = _Configured()


def threads_of_call(
    asked: int | None, built_for: int | None = None, instances: int = 1, devices: Sequence[Device] = ()
) -> int:
    """Threads that one call of one of `instances` on `devices` uses: those asked for, else a default.

    The default is what the build config says, as far as there are so many, else a share of the devices' CPUs. tvm would
    take half of the CPUs, on the assumption that they are hyper-threads, bind the calling thread to one, and silently
    use fewer threads than it is told where it has made fewer. Its environment variables, if the user has set them, win:
    TVM_NUM_THREADS is then the most there can be. Raises DeviceError when more are asked for.
    """
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    os.environ.setdefault(*_SPINS)
    most = os.environ.setdefault(_POOL_SIZE, str(available_cores()))
    if not (most.isascii() and most.isdigit() and int(most)):
        raise DeviceError(f"the environment variable {_POOL_SIZE}: got {most!r}, expected a whole number from 1")
    if asked is not None and asked > int(most):
        raise DeviceError(
            f"threads: got {asked}, this process can use {most}: "
            f"set the environment variable {_POOL_SIZE} to use more than it has CPUs"
        )
    there = min(int(most), sum(len(device.cpus) for device in devices if device.cpus) or int(most))
    return asked or min(built_for or max(1, there // instances), int(most))


def instances_of_machine(threads: int | None) -> int:
    """How many instances keep all CPUs busy when a call uses `threads`; by default one, with which most is done."""
    return max(1, available_cores() // (threads or 1))


def use_threads(count: int) -> None:
    """Let what the calling thread runs from now on use `count` threads: tvm has a pool for each calling thread."""
    if _configured.count != count:
        tvm.get_global_func("runtime.config_threadpool")(_BIG_CORES, count)
        _configured.count = count
