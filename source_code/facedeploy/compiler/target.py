"""What an artifact is compiled for: an instruction set, named or detected."""

import json
from dataclasses import dataclass
from typing import Any

import tvm
from tvm.target import codegen

from facedeploy.core.errors import CompileError

# Names a user may write, best first: `host` is the first whose features this CPU has. The features are LLVM's names
# of what the x86-64 psABI says of a level.
LEVELS: dict[str, tuple[str, ...]] = {
    "x86-64-v4": ("avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"),
    "x86-64-v3": ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"),
    "x86-64-v2": ("cx16", "popcnt", "sahf", "sse4.2", "ssse3"),
}

# What generated code may contain. Other features of a CPU (virtualization, random numbers, ...) it never uses, so that
# a virtual machine that hides them can run the artifact all the same.
EMITTED = ("amx", "avx", "bmi", "cmov", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse", "ssse")


@dataclass(frozen=True)
class Target:
    """`features` are the instruction-set features (LLVM's names) that code for it may use; `triple` is LLVM's."""

    name: str
    triple: str
    features: tuple[str, ...]
    vector_bits: int
    tvm_target: Any

    @property
    def float32_lanes(self) -> int:
        """float32 numbers in one vector register."""
        return self.vector_bits // 32


def host_features() -> dict[str, bool]:
    """LLVM's feature names for this architecture, and whether this CPU has each."""
    return {str(name): bool(has) for name, has in tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")().items()}


def resolve_target(name: str) -> Target:
    """`host`, one of `LEVELS`, or a tvm target in its JSON form, such as {"kind": "llvm", "mcpu": "haswell"}."""
    features = host_features()
    if name == "host":
        best = (level for level, needs in LEVELS.items() if all(features.get(need, False) for need in needs))
        return _named(next(best, None), name)
    if name in LEVELS:
        return _named(name, name)
    try:
        description = json.loads(name)
    except json.JSONDecodeError:
        description = None
    if not isinstance(description, dict) or description.get("kind") != "llvm":
        raise CompileError(
            f"backend.target: got {name!r}, expected host, {', '.join(LEVELS)}, "
            'or a tvm llvm target as JSON, such as {"kind": "llvm", "mcpu": "haswell"}'
        )
    try:
        target = tvm.target.Target(description)
    except (ValueError, TypeError, tvm.error.TVMError) as error:
        raise CompileError(f"backend.target: tvm does not take {name!r}: {str(error).splitlines()[0]}") from error
    mcpu = str(description.get("mcpu", ""))
    if mcpu and not codegen.llvm_is_valid_cpu(mcpu, _triple(target)):
        raise CompileError(f"backend.target: LLVM does not know the CPU {mcpu!r} of {name!r}")
    return _describe(target, name)


def _named(mcpu: str | None, name: str) -> Target:
    description = {"kind": "llvm", **({"mcpu": mcpu} if mcpu else {})}
    return _describe(tvm.target.Target(description), mcpu or name)


def _triple(target: Any) -> str:
    return str(target.attrs.get("mtriple", "") or codegen.llvm_get_system_triple())


def _describe(target: Any, name: str) -> Target:
    # LLVM lists tuning flags among a CPU's features; what the host's table names too is the instruction set.
    known = host_features()
    listed = (str(feature) for feature in codegen.llvm_get_cpu_features(target))
    features = tuple(sorted(feature for feature in listed if feature in known and feature.startswith(EMITTED)))
    vector_bits = 512 if "avx512f" in features else 256 if "avx2" in features else 128
    return Target(name, _triple(target), features, vector_bits, target)
