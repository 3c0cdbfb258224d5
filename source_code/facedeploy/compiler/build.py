"""Build config -> artifact: the whole of `vamc compile`."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tvm
from tvm.support import cc

from facedeploy.artifact.manifest import (
    SCHEMA,
    CompiledFor,
    Manifest,
    PostProcess,
    Source,
    Versions,
    calls_of,
)
from facedeploy.artifact.store import CODE, PARAMS, Artifact, file_sha256, save_artifact
from facedeploy.compiler.assemble import Executable, Network, assemble
from facedeploy.compiler.codegen import generate_code
from facedeploy.compiler.extra_ops import post_process_of
from facedeploy.compiler.frontend.checkpoint import find_checkpoint, image_specs, read_checkpoint
from facedeploy.compiler.frontend.gather_heads import gather_heads
from facedeploy.compiler.frontend.onnx_file import at_shape, check_input, import_onnx, metadata_of
from facedeploy.compiler.half_precision import HALVES, arithmetic_of, speed_note, store_parameters
from facedeploy.compiler.kernels.blocked.candidates import Chooser, by_model
from facedeploy.compiler.kernels.blocked.integers import dot_of, instruction_of
from facedeploy.compiler.kernels.byte_window import byte_window
from facedeploy.compiler.kernels.letterbox import letterbox
from facedeploy.compiler.pipeline import phases, run_phases
from facedeploy.compiler.quantize import quantize
from facedeploy.compiler.reason import reason_of
from facedeploy.compiler.target import Target, resolve_target
from facedeploy.compiler.tuning.tuner import tuner_of
from facedeploy.config.build_config import BuildConfig
from facedeploy.core.errors import CompileError, DependencyError
from facedeploy.core.normalization import Normalization
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.core.version import __version__
from facedeploy.image.process_ops import normalization_of
from facedeploy.quantize.calibrate import Progress
from facedeploy.quantize.insert_qdq import is_quantized


def compile_model(
    config: BuildConfig,
    note: Callable[[str], None] = lambda _: None,
    on_image: Progress = lambda done, total: None,
    folder: Path | None = None,
) -> Artifact:
    """Compile what `config` says and write `<workspace.path>/<name>/mod.{so,params,json}`.

    `note` is told, a line each, what is worth knowing; `on_image(done, total)` after each image that calibrates int8.
    With a `folder` the files go there, and what is kept for the next time still to `<workspace.path>`.
    Raises CompileError, DependencyError, what `quantize_model` raises, and ArtifactError when the files cannot be
    written; nothing is written then.
    """
    dtype = config.backend.dtype
    if cc.get_cc() is None:
        raise DependencyError("compiling needs a C compiler (cc, gcc or clang) to link mod.so: apt-get install gcc")
    target = resolve_target(config.backend.target, dot_products=dtype == "int8")
    if dtype in HALVES:
        note(speed_note(dtype, config.backend.target, target))
    checkpoint = find_checkpoint(config.frontend, note)
    images = image_specs(config.frontend)
    model = read_checkpoint(checkpoint, config.frontend)
    check_input(model, images[0], checkpoint)
    if config.graph:
        model = gather_heads(model, images[0], config.graph.extra_ops.params.spec())
    if dtype == "int8":
        model = _quantized(config, checkpoint, model, target, note, on_image)
    networks = [_network(at_shape(model, images[0], image, checkpoint), image, checkpoint) for image in images]
    normalization = normalization_of(config.dataset.process_ops) if config.dataset else None
    post = post_process_of(config, [network.outputs for network in networks])
    choose = tuner_of(config, target, note) if config.backend.tune else by_model
    try:
        executable = lower(networks, target, normalization, post, choose)
        if window := byte_window(target):
            for name, rows in executable.letterboxes.items():
                executable.kernels[name] = letterbox(name, window, rows)
        library = generate_code(executable.kernels, executable.entries, target)
    except (RuntimeError, ValueError, TypeError) as error:
        # An operator that TVM imports, and then has no lowering for.
        raise CompileError(
            f"frontend.checkpoint: TVM cannot compile {checkpoint} for {target.name}: {reason_of(error)}"
        ) from error
    calls = calls_of(executable.ladder)
    parameters, weights = store_parameters(dtype, executable.parameters, calls)
    manifest = Manifest(
        schema=SCHEMA,
        name=config.name,
        dtype=dtype,
        arithmetic=arithmetic_of(calls, target),
        weights=weights,
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
        ladder=executable.ladder,
        files={},
    )
    return save_artifact(
        folder or Path(config.workspace.path) / config.name,
        manifest,
        {CODE: lambda path: _link(library, path), PARAMS: parameters.tofile},
    )


def _quantized(
    config: BuildConfig, checkpoint: Path, model: Any, target: Target, note: Callable[[str], None], on_image: Progress
) -> Any:
    """The model with QDQ; one that has them says itself where integers are."""
    instruction = instruction_of(target)
    slower = "" if dot_of(target) == "vnni" else ", since it lacks VNNI: expect no gain in speed over fp32"
    note(f"int8: {target.name} multiplies integers by {instruction}{slower}")
    if is_quantized(model):
        note(f"{checkpoint} is quantized already: its integers are used, dataset and backend.quantize are not")
        return model
    quantized = quantize(config, checkpoint, model, note=note, on_image=on_image)
    total = len(quantized.in_int8) + len(quantized.in_float)
    note(f"layers  {len(quantized.in_int8)} of {total} convolutions in int8")
    return quantized.model


def _network(model: Any, image: TensorSpec, file: Path) -> Network:
    return Network(image, *import_onnx(model, image, file))


def lower(
    networks: Sequence[Network],
    target: Target,
    normalization: Normalization | None,
    post: PostProcess | None,
    choose: Chooser = by_model,
) -> Executable:
    """One network at one or more shapes -> TIR functions: kernels, and every entry point of the artifact."""
    return assemble([_optimize(network, target, choose) for network in networks], normalization, post)


def _optimize(network: Network, target: Target, choose: Chooser) -> Network:
    module = network.module
    for _, optimized in run_phases(module, phases(target, choose), target):
        module = optimized
    return replace(network, module=module)


def _link(library: Any, path: Path) -> None:
    try:
        library.export_library(str(path), options=["-s"])  # Debug information would be a quarter of the file.
    except (RuntimeError, OSError) as error:
        raise CompileError(f"linking mod.so failed: {reason_of(error)}") from error
