"""Average precision of an artifact: it runs over images, and its prediction files are evaluated."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from facedeploy.config.build_config import Evaluate
from facedeploy.core.errors import DataError
from facedeploy.image.dataset import ImageFile, list_images
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.runtime.operator import Work
from facedeploy.widerface.evaluate import WiderResult, evaluate
from facedeploy.widerface.ground_truth import load_ground_truth
from facedeploy.widerface.prediction_files import write_predictions

KEY = "backend.quantize.evaluate"


def evaluation_images(options: Evaluate, note: Callable[[str], None]) -> list[ImageFile]:
    """The images of `options` that its ground truth knows; `note` is told of others.

    Raises DataError: no images, one that is missing, a ground truth that cannot be read; DependencyError without scipy.
    """
    try:
        images = list_images(options.images)
    except DataError as error:
        raise DataError(f"{KEY}.images: {error}") from error
    try:
        known = {image.name for image in load_ground_truth(Path(options.ground_truth))}
    except DataError as error:
        raise DataError(f"{KEY}.ground_truth: {error}") from error
    missing = sorted(known - {image.name for image in images})
    if missing:
        raise DataError(
            f"{KEY}.images: {options.images} lacks {len(missing)} of the {len(known)} images of "
            f"{options.ground_truth}, such as {missing[0]}: give the folder that has them all, as <event>/<image>"
        )
    if len(images) > len(known):
        note(f"{KEY}.images: {len(images) - len(known)} of {len(images)} have no ground truth and are left out")
    return [image for image in images if image.name in known]


def measure_accuracy(prefix: Path, images: Sequence[ImageFile], ground_truth: Path) -> WiderResult:
    """AP with the thresholds of the artifact, by way of prediction files, as `facedeploy run` and `eval` measure it.

    `images` are all those of the ground truth. Raises ImageError when one cannot be read, what opening the artifact
    raises, and DataError.
    """
    detector = FaceDetector.from_artifact(prefix)
    with TemporaryDirectory() as folder:
        for work in detector.run_async(Work(image.name, image.path) for image in images):
            if work.error is not None:
                raise work.error
            if work.detections is not None:
                write_predictions(Path(folder) / f"{work.name}.txt", work.name, work.detections)
        return evaluate(Path(folder), ground_truth)
