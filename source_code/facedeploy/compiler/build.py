"""Build config -> artifact: the whole of `vamc compile`."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tvm
from tvm.support import cc

from facedeploy import __version__
from facedeploy.artifact.manifest import SCHEMA, CompiledFor, Manifest, PostProcess, Source, Versions
from facedeploy.artifact.store import CODE, PARAMS, Artifact, file_sha256, save_artifact
from facedeploy.compiler.entry_points import add_pixels_entry
from facedeploy.compiler.extra_ops import add_extra_op, post_process_of
from facedeploy.compiler.frontend.onnx_file import import_onnx, metadata_of, read_onnx
from facedeploy.compiler.frontend.torchscript import torchscript_to_onnx
from facedeploy.compiler.passes.lift_constants import lift_constants
from facedeploy.compiler.pipeline import lower_phases, optimize_phases, run_phases
from facedeploy.compiler.target import Target, resolve_target
from facedeploy.config.build_config import BuildConfig
from facedeploy.core.errors import CompileError, DependencyError
from facedeploy.core.normalization import Normalization
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.image.process_ops import normalization_of

# Where `cd source_code && python export.py` leaves what the shipped configs name.
EXPORT_FOLDER = Path("source_code")


@dataclass(frozen=True)
class Executable:
    """A lowered module, not yet machine code in a file, and its weights in the order of `main`'s parameters."""

    module: tvm.IRModule
    params: list[tvm.runtime.Tensor]


def compile_model(config: BuildConfig, note: Callable[[str], None] = lambda _: None) -> Artifact:
    """Compile what `config` says and write `<workspace.path>/<name>/mod.{so,params,json}`.

    `note` is told, a line each, what is worth knowing. Raises CompileError, DependencyError; nothing is written then.
    """
    if config.backend.dtype != "fp32":
        raise CompileError(f"backend.dtype: got {config.backend.dtype}, this version compiles fp32 only")
    if cc.get_cc() is None:
        raise DependencyError("compiling needs a C compiler (cc, gcc or clang) to link mod.so: apt-get install gcc")
    target = resolve_target(config.backend.target)
    checkpoint = find_checkpoint(config, note)
    model = open_model(config, checkpoint)
    normalization = normalization_of(config.dataset.process_ops) if config.dataset else None
    module, outputs = import_onnx(model, _shape_dict(config), config.frontend.checkpoint)
    post = post_process_of(config, outputs)
    executable = lower(module, config.frontend.shape_nchw, target, normalization, post)
    manifest = Manifest(
        schema=SCHEMA,
        name=config.name,
        dtype=config.backend.dtype,
        inputs=(TensorSpec(config.frontend.input_name, config.frontend.shape_nchw, "float32"),),
        outputs=tuple(outputs),
        normalization=normalization,
        postprocess=post,
        target=CompiledFor(target.name, target.triple, target.features, config.backend.compile.threads),
        source=Source(
            type=config.frontend.type,
            file=checkpoint.name,
            sha256=file_sha256(checkpoint),
            config=config.name,
            config_sha256=hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest(),
            metadata=metadata_of(model),
        ),
        versions=Versions(__version__, tvm.__version__),
        files={},
    )
    binary = tvm.compile(executable.module, target=target.tvm_target, relax_pipeline=tvm.transform.Sequential([]))
    params = tvm.runtime.save_param_dict({str(index): tensor for index, tensor in enumerate(executable.params)})
    return save_artifact(
        Path(config.workspace.path) / config.name,
        manifest,
        {CODE: partial(_export_library, binary), PARAMS: lambda path: _write_bytes(path, params)},
    )


def find_checkpoint(config: BuildConfig, note: Callable[[str], None]) -> Path:
    """The file of `frontend.checkpoint`: under the current directory, else where a checkout's export leaves it."""
    path = Path(config.frontend.checkpoint)
    if path.is_file():
        return path
    exported = EXPORT_FOLDER / path
    if not path.is_absolute() and exported.is_file():
        note(f"frontend.checkpoint: {path} is not in the current directory; using {exported}")
        return exported
    kind = "is a folder" if path.is_dir() else "does not exist"
    raise CompileError(
        f"frontend.checkpoint: {path} {kind} (current directory: {Path.cwd()}); "
        "`python export.py` writes export_model/ under its current directory, --set frontend.checkpoint=X names another"
    )


def open_model(config: BuildConfig, checkpoint: Path) -> Any:
    """The model as an onnx.ModelProto, whatever `frontend.type` is."""
    if config.frontend.type == "torchscript":
        return torchscript_to_onnx(checkpoint, _shape_dict(config))
    return read_onnx(checkpoint)


def lower(
    module: tvm.IRModule,
    shape_nchw: tuple[int, int, int, int],
    target: Target,
    normalization: Normalization | None,
    post: PostProcess | None,
) -> Executable:
    """A Relax module with `main` -> VM calls and TIR functions, with every entry point of the artifact."""
    batch, canvas_hw = shape_nchw[0], shape_nchw[2:]
    for _, optimized in run_phases(module, optimize_phases(target), target):
        module = optimized
    module, params = lift_constants(module)
    if normalization:
        module = add_pixels_entry(module, normalization, batch, canvas_hw)
    if post:
        add_extra_op(module, post, batch, canvas_hw)
    for _, lowered in run_phases(module, lower_phases(), target):
        module = lowered
    return Executable(module, params)


def _shape_dict(config: BuildConfig) -> dict[str, list[int]]:
    return {config.frontend.input_name: list(config.frontend.shape_nchw)}


def _export_library(binary: Any, path: Path) -> None:
    try:
        binary.export_library(str(path))
    except (RuntimeError, OSError) as error:
        raise CompileError(f"linking mod.so failed: {str(error).strip()[:500]}") from error


def _write_bytes(path: Path, content: bytes | bytearray) -> None:
    path.write_bytes(bytes(content))
