"""A folder of prediction files + the ground truth -> average precision."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedeploy.core.errors import DataError
from facedeploy.core.shown import listed
from facedeploy.widerface.average_precision import average_precision, precision_recall, score_range
from facedeploy.widerface.ground_truth import DIFFICULTIES, ImageFaces, load_ground_truth
from facedeploy.widerface.matching import Match, match
from facedeploy.widerface.prediction_files import Predictions, read_predictions

SUFFIX = ".txt"


@dataclass(frozen=True, eq=False)
class WiderResult:
    """Average precision (0..1) at WIDER FACE's three difficulties, and what it was measured on.

    precision_recall maps each difficulty to (1000, 2), precision and recall from the highest threshold to the lowest;
    faces maps it to the number of faces that count. images are those of the ground truth, missing those without a
    prediction file, extra the files without an image; unsorted counts files in which a score rises, misnamed those
    whose first line names another image. boxes are all boxes, most_boxes those of the fullest image; score_range is
    the lowest and highest score found, None without boxes. warnings are sentences.
    """

    easy: float
    medium: float
    hard: float
    precision_recall: Mapping[str, npt.NDArray[np.float64]]
    faces: Mapping[str, int]
    images: int
    missing: int
    extra: int
    unsorted: int
    misnamed: int
    boxes: int
    most_boxes: int
    score_range: tuple[float, float] | None
    warnings: tuple[str, ...]


def evaluate(
    predictions: Path,
    ground_truth: Path,
    *,
    allow_missing: bool = False,
    on_image: Callable[[int, int], None] | None = None,
) -> WiderResult:
    """Evaluate `predictions`/<event>/<image>.txt by the protocol of WIDER FACE's evaluation toolkit (arXiv:1511.06523).

    As there, the boxes of a file are taken in its order. Scores are normalized over all files evaluated. A missing file
    is an error, or with `allow_missing` an image without detections. `on_image(done, total)` is called after each
    image. Raises DataError when the ground truth or prediction files are not as their format says (prediction files
    are reported together); DependencyError without scipy.
    """
    images = load_ground_truth(ground_truth)
    present = _present(predictions, images)
    missing = [image.name for image in images if image.name not in present]
    if missing and not allow_missing:
        raise DataError(
            f"{predictions}: {len(missing)} of {len(images)} images have no prediction file: {listed(missing)}; "
            f"run them too, or count them as images without detections (--allow-missing)"
        )
    matches, misnamed = _match_files(predictions, images, present, on_image)
    counted = np.sum([image.counted.sum(axis=1) for image in images], axis=0).tolist()
    curves = precision_recall(matches, counted)
    easy, medium, hard = map(average_precision, curves)
    faces = dict(zip(DIFFICULTIES, counted, strict=True))
    extra = sorted(present - {image.name for image in images})
    unsorted = [image.name for image, each in zip(images, matches, strict=True) if (np.diff(each.scores) > 0).any()]
    boxes = [len(each.scores) for each in matches]
    return WiderResult(
        easy=easy,
        medium=medium,
        hard=hard,
        precision_recall=dict(zip(DIFFICULTIES, curves, strict=True)),
        faces=faces,
        images=len(images),
        missing=len(missing),
        extra=len(extra),
        unsorted=len(unsorted),
        misnamed=len(misnamed),
        boxes=sum(boxes),
        most_boxes=max(boxes),
        score_range=score_range(matches),
        warnings=tuple(_warnings(missing, extra, unsorted, misnamed, faces)),
    )


def _present(predictions: Path, images: Sequence[ImageFaces]) -> set[str]:
    """`<event>/<image>` of every prediction file; DataError when there is none for the ground truth."""
    if not predictions.is_dir():
        raise DataError(f"{predictions}: no such folder, expected the one that has <event>/<image>{SUFFIX}")
    present = {f"{path.parent.name}/{path.stem}" for path in predictions.glob(f"*/*{SUFFIX}")}
    if any(image.name in present for image in images):
        return present
    events = {image.event for image in images}
    below = sorted(path for path in predictions.iterdir() if any((path / event).is_dir() for event in events))
    if predictions.resolve().name in events:
        hint = f"this is the folder of one event: give the one above it, {predictions.resolve().parent}"
    elif below:
        hint = f"the folders of events are in {below[0]}: give that"
    else:
        hint = "give the folder that has the folders of events"
    raise DataError(
        f"{predictions}: has no prediction file of any of the {len(images)} images, such as "
        f"{images[0].name}{SUFFIX}; {hint}"
    )


def _match_files(
    predictions: Path, images: Sequence[ImageFaces], present: set[str], on_image: Callable[[int, int], None] | None
) -> tuple[list[Match], list[str]]:
    """The match of every image, and the images whose files have another name on line 1."""
    matches: list[Match] = []
    misnamed: list[str] = []
    problems: list[str] = []
    for done, image in enumerate(images, start=1):
        path = predictions / f"{image.name}{SUFFIX}"
        try:
            found = read_predictions(path) if image.name in present else Predictions.empty(image.name)
        except DataError as error:
            problems.append(str(error))
        else:
            matches.append(match(image, found))
            if not _names(found.name, image.name):
                misnamed.append(image.name)
        if on_image:
            on_image(done, len(images))
    if problems:
        raise DataError(listed(problems, separator="; "))
    return matches, misnamed


def _names(first_line: str, name: str) -> bool:
    """Whether a first line names the image: with or without its event and its suffix, as various writers have it."""
    image, written = name.rpartition("/")[2], first_line.rpartition("/")[2]
    return written == image or written.startswith(f"{image}.")


def _warnings(
    missing: Sequence[str],
    extra: Sequence[str],
    unsorted: Sequence[str],
    misnamed: Sequence[str],
    faces: Mapping[str, int],
) -> Iterator[str]:
    if missing:
        yield f"{len(missing)} images have no prediction file and count as without detections: {listed(missing)}"
    if extra:
        yield f"{len(extra)} prediction files are not of the ground truth and are not evaluated: {listed(extra)}"
    if unsorted:
        yield (
            f"{len(unsorted)} files do not have the best score first; they are evaluated in the order of the file, as "
            f"the official evaluator does, so that AP depends on that order: {listed(unsorted)}"
        )
    if misnamed:
        yield f"{len(misnamed)} files name another image on line 1; the name of the file holds: {listed(misnamed)}"
    for difficulty, count in faces.items():
        if not count:
            yield f"no face of the ground truth counts as {difficulty}: its AP is 0 and says nothing"
