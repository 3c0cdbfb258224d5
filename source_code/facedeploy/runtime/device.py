"""Where an artifact can run: this machine's devices and instruction set."""

import platform

import tvm

from facedeploy.artifact.store import Artifact
from facedeploy.core.errors import DeviceError

DEVICES = {0: "host CPU"}


def check_device(device: int) -> None:
    """Raise DeviceError, which lists the devices, unless `device` is one."""
    if device not in DEVICES:
        listed = ", ".join(f"{number} ({name})" for number, name in DEVICES.items())
        raise DeviceError(f"device: got {device}; the devices here: {listed}")


def check_machine(artifact: Artifact) -> None:
    """Raise DeviceError when the artifact was compiled for another architecture, or for features this CPU lacks."""
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
