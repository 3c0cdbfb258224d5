"""int8 that may lose so much AP and no more: the fewest convolutions that have to stay float are found by measuring."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from facedeploy.analysis.accuracy import evaluation_images
from facedeploy.analysis.fewest import fewest
from facedeploy.analysis.precision_speed import PrecisionSpeed
from facedeploy.analysis.reference import MeasuredBuild, Reference
from facedeploy.analysis.sensitivity import integer_layers, rank_layers
from facedeploy.analysis.tradeoff import Point, percent, table
from facedeploy.artifact.store import Artifact, save_artifact
from facedeploy.compiler.build import compile_model
from facedeploy.compiler.frontend.checkpoint import find_checkpoint, image_spec, read_checkpoint
from facedeploy.compiler.frontend.onnx_file import with_static_input
from facedeploy.compiler.quantize import CalibratedModel, calibrate_model
from facedeploy.config.build_config import BuildConfig
from facedeploy.core.errors import CompileError
from facedeploy.quantize.calibrate import Progress
from facedeploy.quantize.insert_qdq import SKIP_KEY, is_quantized
from facedeploy.quantize.layers import convolution_names, selected_layers
from facedeploy.quantize.samples import calibration_set, refuse_evaluation_images

KEY = "backend.quantize.max_drop"
Note = Callable[[str], None]


@dataclass(frozen=True)
class MixedPrecision:
    """The build that was chosen, how fast it is beside fp32, and `skip_conv_layers` that give it again."""

    artifact: Artifact
    speed: PrecisionSpeed
    skip_conv_layers: tuple[int | str, ...]


def compile_within(
    config: BuildConfig, note: Note = lambda _: None, on_image: Progress = lambda done, total: None
) -> MixedPrecision:
    """`compile_model` of an int8 `config`, with the fewest convolutions in float that meet its `max_drop`.

    Convolutions are ranked by what their rounding does to the outputs for calibration images, and the first of them
    stay float: so many as `fewest` finds, for which each number that it tries is compiled and measured, AP and time.
    `note` is told how it goes, and in the end a table of all that was measured. The artifact is written when the choice
    is made, and is the very one that was measured.

    Raises CompileError when none meets it, or the model is quantized already; DataError for an evaluation set that
    cannot be used, or that has images to calibrate with; what `compile_model` and opening an artifact raise.
    """
    options = config.backend.quantize
    if options is None or options.max_drop is None or options.evaluate is None or config.dataset is None:
        raise ValueError("expected a build config for int8 that has backend.quantize.max_drop")
    checkpoint = find_checkpoint(config.frontend, lambda _: None)
    model = read_checkpoint(checkpoint, config.frontend)
    if is_quantized(model):
        raise CompileError(
            f"{KEY}: {checkpoint} is quantized already, which layers are float is said in it: "
            "give the float model, or leave out max_drop and evaluate"
        )
    names = convolution_names(with_static_input(model, image_spec(config.frontend), checkpoint))
    selected_layers(names, options.skip_conv_layers, SKIP_KEY)  # Before minutes go by.
    images = evaluation_images(options.evaluate, note)
    refuse_evaluation_images(calibration_set(config.dataset), images)
    # Without what is searched for, so that the manifest's hash is that of the config that the user is told.
    plain = replace(options, max_drop=None, evaluate=None)
    config = replace(config, backend=replace(config.backend, quantize=plain))
    with TemporaryDirectory() as name:
        folder = Path(name)
        reference = Reference.of(config, images, Path(options.evaluate.ground_truth), folder / "fp32", note)
        integers = compile_model(config, note, on_image, folder / "0")
        found = calibrate_model(config, checkpoint, model)
        search = _Search(config, found, reference, options.max_drop, folder, note, integers)
        chosen = fewest(search.total, search.meets)
        note("\n".join(["", *search.table(), ""]))
        if chosen is None:
            raise CompileError(search.failure())
        build = search.builds[chosen]
        artifact = save_artifact(
            Path(config.workspace.path) / config.name,
            build.artifact.manifest,
            {file.name: partial(shutil.copyfile, file) for file in (build.artifact.code, build.artifact.params)},
        )
    in_float = f", by name: {', '.join(build.layers)}" if build.layers else ""
    note(f"{KEY}: {options.max_drop:g} is met with {chosen} of {search.total} convolutions kept in float{in_float}")
    skipped = (*options.skip_conv_layers, *build.layers)
    if build.layers:
        note("backend.quantize that builds this again without a search, in place of max_drop and evaluate:")
        note(f"skip_conv_layers: {json.dumps(skipped, ensure_ascii=False)}")
    return MixedPrecision(artifact, build.speed, skipped)


@dataclass
class _Search:
    """Builds that differ in how many of the most sensitive convolutions stay float; `builds` has those measured."""

    config: BuildConfig
    found: CalibratedModel
    reference: Reference
    max_drop: float
    folder: Path  # Where they are compiled to.
    note: Note
    integers: Artifact  # The build with none in float.
    builds: dict[int, MeasuredBuild] = field(default_factory=dict)

    @cached_property
    def total(self) -> int:
        """How many convolutions become integer where none is kept in float."""
        return len(integer_layers(self.found))

    @cached_property
    def ranked(self) -> list[str]:
        """Their names, the most sensitive first; the first use takes as long as the model runs on so many images."""
        self.note(f"{KEY}: ranking {self.total} convolutions by what the rounding of each alone does to the outputs")
        return [each.layer for each in rank_layers(self.found)]

    def meets(self, count: int) -> bool:
        """Build with so many in float, measure, and say what came out."""
        layers = tuple(self.ranked[:count]) if count else ()
        options = replace(self.found.options, skip_conv_layers=(*self.found.options.skip_conv_layers, *layers))
        config = replace(self.config, backend=replace(self.config.backend, quantize=options))
        folder = self.folder / str(count)
        artifact = compile_model(config, folder=folder) if count else self.integers
        build = self.builds[count] = self.reference.measure(artifact, layers)
        met = build.drop <= self.max_drop
        excess = "" if met else f", above {self.max_drop:g}"
        self.note(
            f"{KEY}: {count} of {self.total} in float: AP {percent(build.ap)}, drop {build.drop:.2f}{excess}; "
            f"{build.speed.milliseconds:.2f} ms, {build.speed.ratio:.2f} times as fast as fp32"
        )
        if not met:  # It will not be chosen, and may be large.
            shutil.rmtree(folder)
        return met

    def table(self) -> list[str]:
        """Every build measured, and fp32, side by side."""
        builds = sorted(self.builds.items())
        # They were measured minutes apart: only beside fp32's are times of one build comparable to those of another.
        milliseconds = median(build.speed.float_milliseconds for _, build in builds)
        points = [
            Point(f"{count} of {self.total}", build.ap, build.drop, milliseconds / build.speed.ratio, build.speed.ratio)
            for count, build in builds
        ]
        return table([*points, Point("fp32", self.reference.ap, 0.0, milliseconds, 1.0)])

    def failure(self) -> str:
        """What to say where none meets it."""
        count, nearest = min(self.builds.items(), key=lambda entry: (entry[1].drop, entry[0]))
        return (
            f"{KEY}: got {self.max_drop:g}, but no build loses so little: the nearest keeps {count} of {self.total} "
            f"convolutions in float and loses {nearest.drop:.3g} AP points; nothing is written; allow more, or build "
            "fp32"
        )
