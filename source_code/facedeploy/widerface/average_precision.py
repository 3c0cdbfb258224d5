"""Matches of all images -> precision and recall at 1,000 thresholds -> average precision."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from facedeploy.widerface.matching import Match

FloatArray = npt.NDArray[np.float64]

THRESHOLDS = 1000


def precision_recall(matches: Sequence[Match], faces: Sequence[int]) -> FloatArray:
    """Precision and recall (D, 1000, 2) of D difficulties at the thresholds .999, .998, ... 0 of the normalized score.

    `matches` are those of all images: scores are normalized over the whole set. `faces` (D,) are the faces that count
    in all images. A threshold t takes an image's boxes up to the last one whose score is >= t. Where there is no
    proposal precision is 0, where no face counts recall is 0.
    """
    # The best score among a box and those after it reaches t exactly for the boxes up to the last one that does.
    reach = [np.maximum.accumulate(match.scores[::-1])[::-1] for match in matches]
    low, high = score_range(matches) or (0.0, 0.0)
    step = _first_threshold(_normalized(np.concatenate([*reach, np.empty(0)]), low, high))
    curves = np.zeros((len(faces), THRESHOLDS, 2))
    for difficulty, total in enumerate(faces):
        proposals = _cumulated(step, [match.proposal[difficulty] for match in matches])
        found = _cumulated(step, [match.found[difficulty] for match in matches])
        np.divide(found, proposals, out=curves[difficulty, :, 0], where=proposals > 0)
        if total:
            curves[difficulty, :, 1] = found / total
    return curves


def average_precision(curve: FloatArray) -> float:
    """Area under the precision envelope of a curve (T, 2) of precision, recall; recall does not fall (PASCAL VOC)."""
    precision = np.concatenate([[0.0], curve[:, 0], [0.0]])
    recall = np.concatenate([[0.0], curve[:, 1], [1.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # Summing the rises alone, as the official evaluator does, agrees with it to the last bit.
    rises = np.flatnonzero(np.diff(recall))
    return float(np.sum((recall[rises + 1] - recall[rises]) * envelope[rises + 1]))


def score_range(matches: Sequence[Match]) -> tuple[float, float] | None:
    """The lowest and the highest score of all boxes, None without boxes."""
    scores = [match.scores for match in matches if len(match.scores)]
    return (min(float(each.min()) for each in scores), max(float(each.max()) for each in scores)) if scores else None


def _normalized(scores: FloatArray, low: float, high: float) -> FloatArray:
    """Scores as 0..1 of low..high; scores that are all equal pass every threshold."""
    return (scores - low) / (high - low) if high > low else np.ones_like(scores)


def _first_threshold(normalized: FloatArray) -> npt.NDArray[np.intp]:
    """Index of the first, i.e. highest, threshold that each score (0..1) reaches."""
    thresholds = 1 - np.arange(1, THRESHOLDS + 1) / THRESHOLDS
    return THRESHOLDS - np.searchsorted(thresholds[::-1], normalized, side="right")


def _cumulated(step: npt.NDArray[np.intp], flags: list[npt.NDArray[np.bool_]]) -> npt.NDArray[np.intp]:
    """How many flagged boxes (1000,) each threshold lets through."""
    return np.bincount(step[np.concatenate([*flags, np.empty(0, np.bool_)])], minlength=THRESHOLDS).cumsum()
