"""Whether a build of lower precision is faster than the float one of the same model, on this machine."""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from facedeploy.analysis.peer import microseconds
from facedeploy.artifact.store import Artifact
from facedeploy.compiler.build import compile_model
from facedeploy.compiler.frontend.checkpoint import find_checkpoint, read_checkpoint
from facedeploy.config.build_config import BuildConfig
from facedeploy.core.errors import DeviceError
from facedeploy.quantize.insert_qdq import is_quantized
from facedeploy.runtime.model import Model

ROUNDS, RUNS = 7, 3


@dataclass(frozen=True)
class PrecisionSpeed:
    """Medians of calls, ms, of the build and of the fp32 one; `ratio` is the median over rounds of fp32 / build."""

    dtype: str
    milliseconds: float
    float_milliseconds: float
    ratio: float

    def __str__(self) -> str:
        verdict = "" if self.ratio >= 1 else f": {self.dtype} is slower here, build fp32 instead where speed decides"
        return (
            f"{self.dtype} {self.milliseconds:.2f} ms, fp32 {self.float_milliseconds:.2f} ms on this machine, 1 thread "
            f"({self.ratio:.2f}x{verdict})"
        )


def precision_speed(artifact: Artifact, config: BuildConfig) -> PrecisionSpeed | None:
    """Build `config`, of which `artifact` was built, once more in fp32, and let both take turns on random input.

    None where there is nothing to compare: a model that has no float form, a target that this CPU cannot run. Raises
    what compiling raises.
    """
    checkpoint = find_checkpoint(config.frontend, lambda _: None)
    if is_quantized(read_checkpoint(checkpoint, config.frontend)):
        return None
    with TemporaryDirectory() as folder:
        try:
            own = Model.open(artifact.prefix, threads=1)
        except DeviceError:
            return None
        return compare_speed(own, Model.open(float_build(config, Path(folder)).prefix, threads=1))


def float_build(config: BuildConfig, folder: Path) -> Artifact:
    """The first shape of what `config` would be in fp32, untuned, in `folder`. Raises what compiling raises."""
    backend = replace(config.backend, dtype="fp32", quantize=None, tune=False)
    return compile_model(replace(config, backend=backend, frontend=replace(config.frontend, ladder=())), folder=folder)


def compare_speed(own: Model, plain: Model) -> PrecisionSpeed:
    """Let a build and the fp32 one take turns on random input."""
    tensor = (np.random.default_rng(0).random(own.manifest.base.input.shape, np.float32) - 0.5) * 255
    models = [own, plain]
    for model in models:
        model.infer(tensor)
    rounds = [[_milliseconds(model, tensor) for model in models] for _ in range(ROUNDS)]
    milliseconds, float_milliseconds = (median(times) for times in zip(*rounds, strict=True))
    ratio = median(theirs / ours for ours, theirs in rounds)
    return PrecisionSpeed(own.manifest.dtype, milliseconds, float_milliseconds, ratio)


def _milliseconds(model: Model, tensor: npt.NDArray[np.float32]) -> float:
    return median(microseconds(lambda: model.infer(tensor)) for _ in range(RUNS)) / 1000
