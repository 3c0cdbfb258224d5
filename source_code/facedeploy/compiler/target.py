"""What an artifact is compiled for: an instruction set, named or detected."""

import json
from dataclasses import dataclass
from typing import Any

import tvm
from tvm.target import codegen

from facedeploy.compiler.reason import reason_of
from facedeploy.core.errors import CompileError

# Names a user may write, best first: `host` is the first whose features this CPU has. The features are LLVM's names
# of what the x86-64 psABI says of a level.
LEVELS: dict[str, tuple[str, ...]] = {
    "x86-64-v4": ("avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"),
    "x86-64-v3": ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"),
    "x86-64-v2": ("cx16", "popcnt", "sahf", "sse4.2", "ssse3"),
}

# Beyond the levels, and used where a CPU has them: what multiplies eight-bit integers, best first, and what comes with
# it on every CPU that has it.
DOT_PRODUCTS: dict[str, tuple[str, ...]] = {"x86-64-v4": ("amx-int8", "avx512vnni"), "x86-64-v3": ("avxvnni",)}
INCLUDES: dict[str, tuple[str, ...]] = {"amx-int8": ("amx-tile", "avx512vnni")}

# What generated code may contain. Other features of a CPU (virtualization, random numbers, ...) it never uses, so that
# a virtual machine that hides them can run the artifact all the same.
EMITTED = ("amx", "avx", "bmi", "cmov", "f16c", "fma", "gfni", "lzcnt", "movbe", "popcnt", "sse", "ssse")


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

    def optimized(self, level: int) -> Any:
        """The tvm target with LLVM's optimization at this level."""
        return tvm.target.Target({**self.tvm_target.export(), "opt-level": level})


def host_features() -> dict[str, bool]:
    """LLVM's feature names for this architecture, and whether this CPU has each."""
    return {str(name): bool(has) for name, has in tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")().items()}


def lacking_features() -> dict[str, tuple[str, ...]]:
    """Each target with a name, best first, and the features that this CPU lacks to run it."""
    has = host_features()
    lacking: dict[str, tuple[str, ...]] = {}
    below: tuple[str, ...] = ()
    for level, needs in reversed(LEVELS.items()):  # A level has what those below it have.
        below += tuple(need for need in needs if not has.get(need, False))
        lacking[level] = below
        for feature in reversed(DOT_PRODUCTS.get(level, ())):
            missing = tuple(need for need in _with_included(feature) if not has.get(need, False))
            lacking[f"{level}+{feature}"] = (*below, *missing)
    return dict(reversed(lacking.items()))


def _with_included(feature: str) -> tuple[str, ...]:
    return (feature, *INCLUDES.get(feature, ()))


def resolve_target(name: str, dot_products: bool = False) -> Target:
    """`host`, one of `LEVELS`, perhaps with some of its `DOT_PRODUCTS` (`x86-64-v4+amx-int8`), or a tvm target as JSON.

    JSON is such as {"kind": "llvm", "mcpu": "haswell"}; `host` is the best level that this CPU has, with its best dot
    products if they are asked for: code that does without runs on more CPUs.

    Raises CompileError when it is none of these, or for another architecture than this machine's.
    """
    if name == "host":
        features = host_features()
        levels = (level for level, needs in LEVELS.items() if all(features.get(need, False) for need in needs))
        best = next(levels, None)
        if best is None:
            return _describe(_tvm_target({"kind": "llvm"}, name), name)
        name = best
        if dot_products:
            known = DOT_PRODUCTS.get(best, ())
            has = (each for each in known if all(features.get(need, False) for need in _with_included(each)))
            name = "+".join((best, *list(has)[:1]))
    level, _, feature = name.partition("+")
    if level not in LEVELS or (feature and feature not in DOT_PRODUCTS.get(level, ())):
        return _describe(_tvm_target(_parse(name), name), name)
    extra = {"mattr": [f"+{each}" for each in _with_included(feature)]} if feature else {}
    return _describe(_tvm_target({"kind": "llvm", "mcpu": level, **extra}, name), name)


def _parse(name: str) -> dict[str, Any]:
    try:
        description = json.loads(name)
    except (ValueError, RecursionError):
        description = None
    if not isinstance(description, dict) or description.get("kind") != "llvm":
        raise CompileError(
            f"backend.target: got {name!r}, expected host, {', '.join(LEVELS)}, "
            'or a tvm llvm target as JSON, such as {"kind": "llvm", "mcpu": "haswell"}'
        )
    return description


def _tvm_target(description: dict[str, Any], name: str) -> Any:
    try:
        target = tvm.target.Target(description)
    except (ValueError, TypeError) as error:
        raise CompileError(f"backend.target: tvm does not take {name!r}: {reason_of(error)}") from error
    # Before LLVM is asked about it: a triple that it does not know kills the process.
    asked, here = (triple.split("-")[0] for triple in (_triple(target), codegen.llvm_get_system_triple()))
    if asked != here:
        raise CompileError(
            f"backend.target: {name!r} is for the architecture {asked}, and mod.so is linked for this machine's, "
            f"{here}: compile on a machine of that architecture, or leave mtriple out"
        )
    mcpu = description.get("mcpu")
    if mcpu and not codegen.llvm_is_valid_cpu(mcpu, _triple(target)):
        raise CompileError(f"backend.target: {name!r}: LLVM does not know the CPU {mcpu!r} for {here}; or write host")
    return target


def _triple(target: Any) -> str:
    return str(target.attrs.get("mtriple", "") or codegen.llvm_get_system_triple())


def _describe(target: Any, name: str) -> Target:
    # LLVM lists tuning flags among a CPU's features; what the host's table names too is the instruction set.
    known = host_features()
    listed = (str(feature) for feature in codegen.llvm_get_cpu_features(target))
    features = tuple(sorted(feature for feature in listed if feature in known and feature.startswith(EMITTED)))
    vector_bits = 512 if "avx512f" in features else 256 if "avx2" in features else 128
    return Target(name, _triple(target), features, vector_bits, target)
