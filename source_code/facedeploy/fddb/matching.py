"""Boxes of one image against its faces, one to one, at every threshold."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.core.requirement import require

FloatArray = npt.NDArray[np.float64]

IOU_THRESHOLD = 0.5  # A match of more counts as a face found.


@dataclass(frozen=True, eq=False)
class Steps:
    """What one image adds to the totals when the threshold falls to each of its S scores, the highest first.

    scores (S,), each once; boxes (S,) are those of that score; found (S,) the rise of the faces matched with an IoU
    above 0.5, continuous (S,) the rise of the sum of the IoUs of all matches. A rise may be negative, since a match is
    made anew at each threshold.
    """

    scores: FloatArray
    boxes: FloatArray
    found: FloatArray
    continuous: FloatArray


def linear_sum_assignment() -> Any:
    """The function of scipy. Raises DependencyError without scipy."""
    return require("scipy.optimize", "eval", "matching boxes and faces one to one").linear_sum_assignment


def match(overlaps: FloatArray, scores: FloatArray) -> Steps:
    """Match N boxes with G faces, whose IoU is `overlaps` (G, N), as FDDB's report (UM-CS-2010-009) says.

    At each threshold, of the boxes scored that or more, each is assigned to one face at most and each face to one box,
    so that the sum of the IoUs is the largest that can be.
    """
    assign = linear_sum_assignment()
    order = np.argsort(-scores, kind="stable")
    values, counts = np.unique(-scores, return_counts=True)
    touching = np.any(overlaps > 0, axis=0)[order]  # Other boxes change no match.
    touched = overlaps[:, order[touching]]
    found, continuous = np.zeros(len(values)), np.zeros(len(values))
    matched, before = np.empty(0), 0
    for step, count in enumerate(touching.cumsum()[counts.cumsum() - 1]):
        if count > before:
            chosen = touched[:, :count]
            matched, before = chosen[assign(chosen, maximize=True)], count
        found[step], continuous[step] = (matched > IOU_THRESHOLD).sum(), matched.sum()
    return Steps(-values, counts.astype(np.float64), np.diff(found, prepend=0), np.diff(continuous, prepend=0))
