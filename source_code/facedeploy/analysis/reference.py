"""Builds of lower precision beside the fp32 one of the same model: what AP they lose, how fast they are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from facedeploy.analysis.accuracy import KEY, measure_accuracy
from facedeploy.analysis.precision_speed import PrecisionSpeed, compare_speed, float_build
from facedeploy.analysis.tradeoff import AP, drop_of, percent
from facedeploy.artifact.store import Artifact
from facedeploy.config.build_config import BuildConfig
from facedeploy.core.errors import DataError
from facedeploy.image.dataset import ImageFile
from facedeploy.runtime.model import Model


@dataclass(frozen=True)
class MeasuredBuild:
    """A build with `layers` kept in float, by name. `drop`: AP points, where it loses most."""

    artifact: Artifact
    layers: tuple[str, ...]
    ap: AP
    drop: float
    speed: PrecisionSpeed


@dataclass(frozen=True)
class Reference:
    """The fp32 build, which others are measured against; its AP is measured once."""

    model: Model
    ap: AP
    images: Sequence[ImageFile]
    ground_truth: Path

    @classmethod
    def of(
        cls,
        config: BuildConfig,
        images: Sequence[ImageFile],
        ground_truth: Path,
        folder: Path,
        note: Callable[[str], None],
    ) -> "Reference":
        """Build `config` in fp32 in `folder`, and evaluate it; `note` is told its AP.

        `images` are all those of the ground truth. Raises DataError when it finds no face, what compiling raises, and
        what `measure_accuracy` raises.
        """
        artifact = float_build(config, folder)
        ap = _ap(artifact, images, ground_truth)
        note(f"fp32: AP {percent(ap)} on {len(images)} images of {ground_truth}")
        if not any(ap):
            raise DataError(
                f"{KEY}: fp32 itself finds none of the faces of {ground_truth}, so that int8 cannot lose any: "
                "expected the ground truth of these images, and a trained model"
            )
        return cls(Model.open(artifact.prefix, threads=1), ap, images, ground_truth)

    def measure(self, artifact: Artifact, layers: tuple[str, ...]) -> MeasuredBuild:
        """AP and speed of a build that has `layers` in float."""
        ap = _ap(artifact, self.images, self.ground_truth)
        speed = compare_speed(Model.open(artifact.prefix, threads=1), self.model)
        return MeasuredBuild(artifact, layers, ap, drop_of(ap, self.ap), speed)


def _ap(artifact: Artifact, images: Sequence[ImageFile], ground_truth: Path) -> AP:
    result = measure_accuracy(artifact.prefix, images, ground_truth)
    return result.easy, result.medium, result.hard
