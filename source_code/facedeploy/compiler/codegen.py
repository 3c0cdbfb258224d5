"""A module of kernels and entry points -> machine code."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tvm

from facedeploy.compiler.interrupt import interrupts_kept
from facedeploy.compiler.passes.schedule_kernels import is_built
from facedeploy.compiler.pipeline import BUILT_KERNELS, LOWERED_KERNELS
from facedeploy.compiler.target import Target
from facedeploy.core.cores import available_cores

# LLVM's levels of optimization. Entries only call kernels (but at 0, tvm takes a module for a system library).
LITTLE, AS_TVM_DOES = 1, 2


def generate_code(kernels: tvm.IRModule, entries: tvm.IRModule, target: Target) -> Any:
    """Compile both modules of TIR functions to a library that `export_library` can link.

    In threads: each kernel built here is a module and an object file of its own. LLVM, most of the time that compiling
    takes, uses one core for one module.
    """
    functions = {
        variable: function.with_attr("global_symbol", variable.name_hint)
        for variable, function in kernels.functions.items()
    }
    lowered = {name: function for name, function in functions.items() if not is_built(function)}
    parts = [_Part(lowered, LOWERED_KERNELS, AS_TVM_DOES)] if lowered else []
    parts += [
        _Part({name: function}, BUILT_KERNELS, AS_TVM_DOES)
        for name, function in functions.items()
        if is_built(function)
    ]
    # Many arguments mean many layers: what takes longest comes first, so that no thread is left with it in the end.
    parts.sort(key=lambda part: -sum(len(function.params) for function in part.functions.values()))
    with interrupts_kept(), tempfile.TemporaryDirectory() as folder:
        pool = ThreadPoolExecutor(available_cores())
        try:
            objects = pool.map(partial(_object_of, target=target, folder=Path(folder)), range(len(parts)), parts)
            library = _build(_Part(dict(entries.functions.items()), BUILT_KERNELS, LITTLE), target)
            for code in objects:
                library.import_module(code)
            return library
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Part:
    """Functions that become one LLVM module, the pipeline that they take, and how hard LLVM shall optimize them."""

    functions: dict[Any, Any]
    pipeline: str
    effort: int


def _object_of(index: int, part: _Part, target: Target, folder: Path) -> Any:
    path = folder / f"{index}.o"
    _build(part, target).write_to_file(str(path))
    return tvm.runtime.load_static_library(str(path), [str(variable.name_hint) for variable in part.functions])


def _build(part: _Part, target: Target) -> Any:
    return tvm.tirx.build(tvm.IRModule(part.functions), target=target.optimized(part.effort), pipeline=part.pipeline)
