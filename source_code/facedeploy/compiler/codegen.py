"""A module of kernels and entry points -> machine code."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import tvm

from facedeploy.compiler.interrupt import interrupts_kept
from facedeploy.compiler.passes.schedule_kernels import is_built
from facedeploy.compiler.pipeline import BUILT_KERNELS, LOWERED_KERNELS
from facedeploy.compiler.target import Target
from facedeploy.core.cores import available_cores


def generate_code(kernels: tvm.IRModule, entries: tvm.IRModule, target: Target) -> Any:
    """Compile both modules of TIR functions to a library that `export_library` can link.

    In threads: each kernel built here is a module and an object file of its own. LLVM, most of the time that compiling
    takes, uses one core for one module.
    """
    functions = {
        variable: function.with_attr("global_symbol", variable.name_hint)
        for variable, function in kernels.functions.items()
    }
    built = [({name: function}, BUILT_KERNELS) for name, function in functions.items() if is_built(function)]
    lowered = {name: function for name, function in functions.items() if not is_built(function)}
    modules = [*([(lowered, LOWERED_KERNELS)] if lowered else []), *built]
    with interrupts_kept(), tempfile.TemporaryDirectory() as folder:
        pool = ThreadPoolExecutor(available_cores())
        try:
            objects = pool.map(partial(_object_of, target=target, folder=Path(folder)), range(len(modules)), modules)
            library = _build(dict(entries.functions.items()), target, BUILT_KERNELS)
            for code in objects:
                library.import_module(code)
            return library
        finally:
            pool.shutdown(cancel_futures=True)


def _object_of(index: int, module: tuple[dict[Any, Any], str], target: Target, folder: Path) -> Any:
    functions, pipeline = module
    path = folder / f"{index}.o"
    _build(functions, target, pipeline).write_to_file(str(path))
    return tvm.runtime.load_static_library(str(path), [str(variable.name_hint) for variable in functions])


def _build(functions: dict[Any, Any], target: Target, pipeline: str) -> Any:
    return tvm.tirx.build(tvm.IRModule(functions), target=target.tvm_target, pipeline=pipeline)
