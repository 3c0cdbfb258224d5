"""Detectors at many sizes: each compiled for exactly that canvas, and measured."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from facedeploy.analysis.latency_table import Cell, LatencyTable
from facedeploy.analysis.published import Size, published_at
from facedeploy.artifact.store import file_sha256, open_artifact
from facedeploy.compiler.build import compile_model
from facedeploy.compiler.frontend.checkpoint import find_checkpoint, image_spec, read_checkpoint
from facedeploy.compiler.frontend.onnx_file import at_shape, check_input
from facedeploy.compiler.quantize import quantize
from facedeploy.compiler.target import resolve_target
from facedeploy.config.build_config import PARAMETER_FILES, BuildConfig, Frontend
from facedeploy.config.process_ops import CenterCrop, Pad, Resize
from facedeploy.core.cpu import cpu_name
from facedeploy.core.errors import ArtifactError, CompileError, DependencyError, FacedeployError
from facedeploy.core.files import result_path
from facedeploy.core.percentile import samples_needed
from facedeploy.core.shown import size_text
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.core.version import __version__
from facedeploy.perf.measure import measure
from facedeploy.quantize.calibrate import Progress
from facedeploy.quantize.insert_qdq import is_quantized
from facedeploy.quantize.samples import calibration_set
from facedeploy.runtime.threads import threads_of_call

CACHE = ".latency"  # Below workspace.path.
FEWEST_ITERATIONS = samples_needed(50)  # For a median.

Note = Callable[[str], None]


class SizeError(CompileError):
    """A size that a model cannot have."""


def latency_table(
    configs: dict[str, BuildConfig],
    sizes: Sequence[Size],
    *,
    threads: int | None = None,
    iterations: int = 50,
    recompile: bool = False,
    note: Note = lambda _: None,
    on_image: Progress = lambda done, total: None,
) -> LatencyTable:
    """Compile each config, by its title, for a canvas of each size (width, height), and measure it on one instance.

    What is compiled is kept in `<workspace.path>/.latency/` for the next time; `recompile` makes it anew. Images are
    random, of the canvas's size. `iterations` calls (20 or more, for medians) follow the warm-up of `perf.warmup`.
    `threads` of a call are by default as many as the process has CPUs, whatever a config says. A size that a model
    cannot have is one of the table's failures, and CompileError with a line for each reason when there is nothing else.
    Raises also what reading models, calibrating and measuring raise.
    """
    cells: dict[tuple[Size, str], Cell] = {}
    failures: dict[tuple[Size, str], str] = {}
    threads = threads_of_call(threads)  # The same for all, and known to be there before minutes go by, as models are.
    detectors = {title: _Detector(config, note, on_image) for title, config in configs.items()}
    for title, detector in detectors.items():
        for size in sizes:
            try:
                prefix = detector.artifact(size, recompile)
            except SizeError as error:
                failures[size, title] = str(error)
                continue
            report = measure(prefix, threads=threads, iterations=iterations)
            model, whole = report.stage_ms["infer"].p50, report.latency_ms.p50
            assert model is not None and whole is not None
            cells[size, title] = Cell(model, whole, report.steady)
            note(f"{title}, {size_text(size)}: model {model:.2f} ms, whole {whole:.2f} ms")
    if not cells:
        raise CompileError("\n".join(dict.fromkeys(failures.values())))
    return LatencyTable(
        cpu=cpu_name(),
        threads=threads,
        iterations=iterations,
        date=date.today().isoformat(),
        sizes=tuple(sizes),
        titles=tuple(configs),
        cells=cells,
        failures=failures,
        published=published_at(list(sizes)),
    )


class _Detector:
    """One config, whose model is read, and perhaps quantized, once for all sizes."""

    def __init__(self, config: BuildConfig, note: Note, on_image: Progress) -> None:
        self.config, self.note, self.on_image = config, note, on_image
        self.checkpoint = find_checkpoint(config.frontend, note)
        self.model = read_checkpoint(self.checkpoint, config.frontend)
        check_input(self.model, image_spec(config.frontend), self.checkpoint)
        # Only what was made of all this may be used again: a config of the same name may have changed.
        self._made_of = (
            hashlib.sha256(self.model.SerializeToString(deterministic=True)).hexdigest(),
            asdict(config),
            (__version__, version("apache-tvm")),
            self._target(),
            self._calibrated_by(),
        )
        self._quantized: Any = None

    def artifact(self, size: Size, recompile: bool) -> Path:
        """The prefix of the artifact for a canvas, compiled unless it is there.

        Raises SizeError, and what concerns all sizes: what `quantize` raises, and DependencyError.
        """
        width, height = size
        key = hashlib.sha256(json.dumps([self._made_of, size], sort_keys=True).encode()).hexdigest()[:12]
        folder = Path(self.config.workspace.path) / CACHE / f"{self.config.name}_{size_text(size)}_{key}"
        if not recompile:
            try:
                return open_artifact(folder).prefix
            except ArtifactError:  # Not there, or damaged.
                pass
        self.note(f"compiling {self.config.name} ({self.config.backend.dtype}) for {size_text(size)} (width x height)")
        self._source()
        image = TensorSpec(self.config.frontend.input_name, (1, 3, height, width), "float32")
        with TemporaryDirectory() as temporary:
            file = Path(temporary) / f"{self.checkpoint.stem}_{size_text(size)}.onnx"
            try:
                model = self._at(image)
                with result_path(file) as partial:
                    partial.write_bytes(model.SerializeToString())
                return compile_model(_at_canvas(self.config, image, file), folder=folder).prefix
            except DependencyError:
                raise
            except FacedeployError as error:
                reason = str(error).removeprefix("frontend.ladder: ")  # Which the shape does not come from.
                raise SizeError(f"--sizes {size_text(size)}: {reason}") from error

    def _at(self, image: TensorSpec) -> Any:
        """The model for that input: nets of other frameworks are imported anew, and may crop and pad otherwise then."""
        config, known = self.config.frontend, image_spec(self.config.frontend)
        if config.type not in PARAMETER_FILES:
            return at_shape(self._source(), known, image, self.checkpoint)
        batch, channels, height, width = image.shape
        if self._source() is self.model:
            anew = replace(config, shape={image.name: (batch, channels, height, width)}, ladder=())
            return read_checkpoint(self.checkpoint, anew)
        read_checkpoint(self.checkpoint, replace(config, ladder=((batch, channels, height, width),)))  # Or refuse it.
        return at_shape(self._source(), known, image, self.checkpoint)

    def _source(self) -> Any:
        """The model as it is compiled, at the shape of the config."""
        if self.config.backend.dtype != "int8" or is_quantized(self.model):
            return self.model
        if self._quantized is None:
            found = quantize(self.config, self.checkpoint, self.model, note=self.note, on_image=self.on_image)
            self._quantized = found.model
        return self._quantized

    def _calibrated_by(self) -> str:
        """A hash of what int8 ranges come from."""
        quantize, dataset = self.config.backend.quantize, self.config.dataset
        if self.config.backend.dtype != "int8" or is_quantized(self.model):
            return ""
        if quantize and quantize.ranges:
            table = Path(quantize.ranges)
            return file_sha256(table) if table.is_file() else ""  # Calibration says what it misses.
        return calibration_set(dataset).content_hash() if dataset else ""

    def _target(self) -> str:
        """What `host` means here."""
        return resolve_target(self.config.backend.target, dot_products=self.config.backend.dtype == "int8").name


def _at_canvas(config: BuildConfig, image: TensorSpec, file: Path) -> BuildConfig:
    """The config for the model in a file, whose input is `image`. What lays images on another canvas is left out."""
    batch, channels, height, width = image.shape
    frontend = Frontend("onnx", str(file), {image.name: (batch, channels, height, width)})
    dataset = config.dataset
    if dataset:
        kept = tuple(op for op in dataset.process_ops if not isinstance(op, Resize | Pad | CenterCrop))
        dataset = replace(dataset, process_ops=kept)
    return replace(config, frontend=frontend, dataset=dataset)
