"""Build config of int8 -> QDQ ONNX: the whole of `facedeploy quantize`, and what `compile_model` does first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facedeploy.compiler.frontend.checkpoint import find_checkpoint, image_spec, read_checkpoint
from facedeploy.compiler.frontend.onnx_file import with_static_input
from facedeploy.config.build_config import BuildConfig, QuantizeOptions
from facedeploy.core.errors import CompileError, ConfigError
from facedeploy.core.normalization import Normalization
from facedeploy.image.dataset import ImageFile
from facedeploy.image.process_ops import normalization_of
from facedeploy.quantize.cache import calibrated
from facedeploy.quantize.calibrate import Progress
from facedeploy.quantize.calibration import Calibration
from facedeploy.quantize.calibration_table import table_calibration
from facedeploy.quantize.insert_qdq import SKIP_KEY, check_float, insert_qdq
from facedeploy.quantize.layers import convolution_names, selected_layers
from facedeploy.quantize.samples import CalibrationSet, calibration_set, refuse_evaluation_images


@dataclass(frozen=True)
class CalibratedModel:
    """A float onnx.ModelProto of static shape, its convolutions by name in graph order, and all that quantizes it."""

    model: Any
    names: tuple[str, ...]
    options: QuantizeOptions
    samples: CalibrationSet
    calibration: Calibration
    normalization: Normalization | None


@dataclass(frozen=True)
class QuantizedModel:
    """An onnx.ModelProto with QDQ, the file it came from, and its convolutions by what they compute in."""

    model: Any
    source: Path
    in_int8: tuple[str, ...]
    in_float: tuple[str, ...]


def quantize_model(
    config: BuildConfig,
    *,
    evaluation: Sequence[ImageFile] = (),
    note: Callable[[str], None] = lambda _: None,
    on_image: Progress = lambda done, total: None,
) -> QuantizedModel:
    """Calibrate the model of `config` on the images of `config`, or by its table, and write its ranges into it.

    None of the images may be one of `evaluation`. `note` is told, a line each, what is worth knowing; `on_image(done,
    total)` after each image. Raises ConfigError: another dtype than int8, a layer that the model lacks; CompileError: a
    model that cannot be read or quantized; DataError and ImageError: images that are missing, unreadable or evaluated;
    DependencyError without onnxruntime.
    """
    checkpoint = find_checkpoint(config.frontend, note)
    model = read_checkpoint(checkpoint, config.frontend)
    return quantize(config, checkpoint, model, evaluation=evaluation, note=note, on_image=on_image)


def quantize(
    config: BuildConfig,
    checkpoint: Path,
    model: Any,
    *,
    evaluation: Sequence[ImageFile] = (),
    note: Callable[[str], None] = lambda _: None,
    on_image: Progress = lambda done, total: None,
) -> QuantizedModel:
    """`quantize_model` of an onnx.ModelProto that was read from `checkpoint`."""
    found = calibrate_model(config, checkpoint, model, evaluation=evaluation, note=note, on_image=on_image)
    if found.options.max_drop is not None:
        note("backend.quantize.max_drop: only the command compile keeps layers in float for it; none are here")
    names = found.names
    quantized = insert_qdq(found.model, found.calibration, found.options, found.normalization)
    dequantized = {name for node in quantized.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    convolutions = [node for node in quantized.graph.node if node.op_type == "Conv"]
    in_int8 = [node.input[1] in dequantized for node in convolutions]
    return QuantizedModel(
        quantized,
        checkpoint,
        tuple(name for name, integer in zip(names, in_int8, strict=True) if integer),
        tuple(name for name, integer in zip(names, in_int8, strict=True) if not integer),
    )


def calibrate_model(
    config: BuildConfig,
    checkpoint: Path,
    model: Any,
    *,
    evaluation: Sequence[ImageFile] = (),
    note: Callable[[str], None] = lambda _: None,
    on_image: Progress = lambda done, total: None,
) -> CalibratedModel:
    """What `quantize` quantizes; parameters and errors are those of `quantize_model`."""
    options, dataset = config.backend.quantize, config.dataset
    if config.backend.dtype != "int8" or options is None or (dataset is None and options.ranges is None):
        raise ConfigError(
            f"backend.dtype: got {config.backend.dtype}, quantizing needs a config of int8, such as "
            "build_in/build/mobilenet0.25_int8.yaml"
        )
    model = with_static_input(model, image_spec(config.frontend), checkpoint)
    check_float(model)
    names = convolution_names(model)
    if not names:
        raise CompileError(f"frontend.checkpoint: {checkpoint} has no convolutions, which are what becomes integer")
    skipped = selected_layers(names, options.skip_conv_layers, SKIP_KEY)  # Before the images run: that takes minutes.
    normalization = normalization_of(dataset.process_ops) if dataset else None
    if options.ranges is not None or dataset is None:
        calibration, lacking = table_calibration(model, Path(options.ranges or ""), skipped, note)
        options = replace(options, skip_conv_layers=(*options.skip_conv_layers, *sorted(lacking)))
        samples = CalibrationSet((), dataset.process_ops if dataset else ())
    else:
        samples = calibration_set(dataset, note)
        refuse_evaluation_images(samples, evaluation)
        calibration = calibrated(model, samples, options, Path(config.workspace.path), note=note, on_image=on_image)
    return CalibratedModel(model, tuple(names), options, samples, calibration, normalization)
