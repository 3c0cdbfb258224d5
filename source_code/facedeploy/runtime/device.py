"""Where an artifact can run: this machine's devices and instruction set."""

import os
import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tvm

from facedeploy.artifact.store import Artifact
from facedeploy.core.amx import FEATURE, request_amx
from facedeploy.core.errors import DeviceError

NODES = Path("/sys/devices/system/node")


@dataclass(frozen=True)
class Device:
    """Where instances of a model run: on these CPUs, which have memory of their own; None: wherever they may."""

    name: str
    cpus: frozenset[int] | None = None

    def threads(self) -> ThreadPoolExecutor:
        """Threads that stay on these CPUs, and so do those that they start; memory that they first touch lies there."""
        return ThreadPoolExecutor(initializer=partial(os.sched_setaffinity, 0, self.cpus or ()))


def find_devices(nodes: Path) -> list[Device]:
    """The NUMA nodes, a folder each in `nodes`, of whose CPUs this process may use some; with one, the host CPU."""
    if not hasattr(os, "sched_getaffinity"):
        return [Device("host CPU")]
    allowed, found = os.sched_getaffinity(0), []
    for folder in sorted(nodes.glob("node[0-9]*"), key=lambda path: int(path.name.removeprefix("node"))):
        cpus = _cpus((folder / "cpulist").read_text()) & allowed
        if cpus:
            found.append(Device(f"NUMA {folder.name}, {len(cpus)} CPUs", frozenset(cpus)))
    return found if len(found) > 1 else [Device("host CPU")]


def choose_devices(numbers: int | Sequence[int], instances: int) -> list[Device]:
    """The devices of these numbers. Raises DeviceError, which lists those there are, or when one would be idle."""
    there = find_devices(NODES)
    # Another library's devices have names, so that one may be given.
    chosen = list(numbers) if isinstance(numbers, Sequence) and not isinstance(numbers, str) else [numbers]
    known = [number for number in chosen if isinstance(number, int) and 0 <= number < len(there)]
    got = ", ".join(map(str, chosen)) or "none"
    if not chosen or known != chosen or len(set(known)) < len(known):
        listed = ", ".join(f"{number} ({device.name})" for number, device in enumerate(there))
        raise DeviceError(f"device: got {got}; the devices here: {listed}")
    if instances < len(chosen):
        raise DeviceError(f"device: got {got}, expected no more of them than instances ({instances}): raise those")
    return [there[number] for number in chosen]


def _cpus(text: str) -> set[int]:
    """Linux's list: `0-3,8` -> 0, 1, 2, 3, 8; empty for a node of memory alone."""
    ends = [part.partition("-") for part in text.strip().split(",") if part]
    return {cpu for first, _, last in ends for cpu in range(int(first), int(last or first) + 1)}


def check_machine(artifact: Artifact) -> None:
    """Raise DeviceError when the artifact was compiled for another architecture, or for features this CPU lacks.

    What this process must ask the system for, to use a feature, is asked for.
    """
    target = artifact.manifest.target
    architecture = target.triple.split("-")[0]
    if architecture != platform.machine():
        raise DeviceError(
            f"{artifact.code} is for {architecture}, this machine is {platform.machine()}: compile it for this machine"
        )
    features = tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")()
    missing = [name for name in target.features if not features.get(name, False)]
    if missing:
        raise DeviceError(
            f"{artifact.code} is compiled for {target.name} and needs {', '.join(missing)}, which this CPU lacks: "
            "compile it here with backend.target: host, or with an older level such as x86-64-v3"
        )
    if FEATURE in target.features:
        request_amx()
