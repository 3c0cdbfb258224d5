"""Results + ellipses -> the ROC of FDDB: true positive rate over false positives."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedeploy.core.errors import DataError
from facedeploy.core.shown import listed
from facedeploy.fddb.folds import read_ellipses
from facedeploy.fddb.matching import Steps, linear_sum_assignment, match
from facedeploy.fddb.overlap import overlaps
from facedeploy.fddb.results import complete, gather_predictions, read_results
from facedeploy.image.decode import read_image

IMAGE_SUFFIX = ".jpg"

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Roc:
    """A point for each of the T scores there are, the highest first.

    thresholds (T,); false_positives (T,) are the boxes of that score or more without a match above IoU 0.5; discrete
    (T,) is the share of faces with such a match, continuous (T,) the sum of the IoUs of all matches over all faces.
    """

    thresholds: FloatArray
    false_positives: FloatArray
    discrete: FloatArray
    continuous: FloatArray

    def at(self, false_positives: int) -> tuple[float, float]:
        """The highest rates, discrete and continuous, with no more false positives than these."""
        allowed = self.false_positives <= false_positives
        return float(self.discrete[allowed].max(initial=0)), float(self.continuous[allowed].max(initial=0))


@dataclass(frozen=True, eq=False)
class FddbResult:
    """The curve, and what it was measured on: `extra` images are not of the ground truth; warnings are sentences."""

    roc: Roc
    images: int
    faces: int
    boxes: int
    missing: int
    extra: int
    warnings: tuple[str, ...]


def evaluate(
    predictions: Path,
    ground_truth: Sequence[Path],
    *,
    images: Path | None = None,
    allow_missing: bool = False,
    on_image: Callable[[int, int], None] | None = None,
) -> FddbResult:
    """Evaluate a file of results, or a folder of predictions, against ellipse lists (FDDB: UM-CS-2010-009).

    With `images`, the folder above `2002/`, faces and boxes are cut at the borders of each image, as FDDB's program
    does it; without, they are not. An image without predictions is an error, or with `allow_missing` one without
    detections. `on_image(done, total)` is called after each image. Raises DataError, ImageError; DependencyError
    without scipy.
    """
    linear_sum_assignment()  # Before the work.
    faces = read_ellipses(ground_truth)
    names = list(faces)
    found = gather_predictions(predictions, names) if predictions.is_dir() else read_results(predictions)
    boxes, missing = complete(found, names, predictions, allow_missing)
    total = sum(map(len, faces.values()))
    if not total:
        raise DataError(f"{ground_truth[0]}: no image has a face, expected some to find")
    steps = []
    for done, name in enumerate(names, start=1):
        hw = None if images is None else read_image(images / f"{name}{IMAGE_SUFFIX}").shape[:2]
        rows = boxes[name]
        steps.append(match(overlaps(faces[name], rows[:, :4], hw and (hw[0], hw[1])), rows[:, 4]))
        if on_image:
            on_image(done, len(names))
    extra = sorted(found.keys() - faces.keys())
    return FddbResult(
        roc=roc(steps, total),
        images=len(names),
        faces=total,
        boxes=sum(map(len, boxes.values())),
        missing=len(missing),
        extra=len(extra),
        warnings=tuple(_warnings(missing, extra)),
    )


def roc(steps: Sequence[Steps], faces: int) -> Roc:
    """The curve of all images together: at a threshold, each counts with what it has at that or above."""
    scores, boxes, found, continuous = (
        np.concatenate([np.empty(0), *(getattr(each, field) for each in steps)])
        for field in ("scores", "boxes", "found", "continuous")
    )
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if len(scores) else np.empty(0, np.intp)
    boxes, found, continuous = (np.cumsum(each[order])[last] for each in (boxes, found, continuous))
    return Roc(scores[last], boxes - found, found / faces, continuous / faces)


def _warnings(missing: Sequence[str], extra: Sequence[str]) -> Iterator[str]:
    if missing:
        yield f"{len(missing)} images have no predictions and count as without detections: {listed(missing)}"
    if extra:
        yield f"{len(extra)} images of the results are not of the ground truth and are not evaluated: {listed(extra)}"
