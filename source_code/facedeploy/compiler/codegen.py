"""A lowered module -> machine code and VM instructions."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.relax import vm_build

from facedeploy.compiler.interrupt import interrupts_kept
from facedeploy.compiler.passes.schedule_kernels import is_built
from facedeploy.compiler.pipeline import BUILT_KERNELS, LOWERED_KERNELS
from facedeploy.compiler.target import Target
from facedeploy.core.cores import available_cores


def generate_code(module: tvm.IRModule, target: Target) -> tvm.relax.VMExecutable:
    """Compile every TIR function and the VM functions of `module`; `lower` has made it.

    What `tvm.compile` does with one LLVM module for everything, in threads: each kernel built here is a module and an
    object file of its own. LLVM, most of the time that compiling takes, uses one core for one module.
    """
    builder = relax.ExecBuilder()
    functions = vm_build._vmcodegen(builder, module).functions.items()
    kernels = [(name, function) for name, function in functions if isinstance(function, tirx.PrimFunc)]
    built = [(name, function) for name, function in kernels if is_built(function)]
    together = {name: function for name, function in kernels if not is_built(function)}
    pipeline = LOWERED_KERNELS
    if built and not together:  # Something must stay a module: the target of the whole is taken from it.
        together, built, pipeline = dict(built[:1]), built[1:], BUILT_KERNELS
    with interrupts_kept(), tempfile.TemporaryDirectory() as folder:
        pool = ThreadPoolExecutor(available_cores())
        try:
            objects = pool.map(partial(_object_of, target=target, folder=Path(folder)), range(len(built)), built)
            library = _build(together, target, pipeline) if together else None
            return tvm.relax.VMExecutable(
                vm_build._ffi_api.VMLink(builder, target.tvm_target, library, list(objects), {})
            )
        finally:
            pool.shutdown(cancel_futures=True)


def _object_of(index: int, kernel: tuple[Any, Any], target: Target, folder: Path) -> Any:
    name, function = kernel
    path = folder / f"{index}.o"
    _build({name: function}, target, BUILT_KERNELS).write_to_file(str(path))
    return tvm.runtime.load_static_library(str(path), [str(name.name_hint)])


def _build(functions: dict[Any, Any], target: Target, pipeline: str) -> Any:
    return tvm.tirx.build(tvm.IRModule(functions), target=target.tvm_target, pipeline=pipeline)
