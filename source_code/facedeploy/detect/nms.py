"""Greedy non-maximum suppression."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def iou_with_rest(box: FloatArray, rest: FloatArray) -> FloatArray:
    """IoU of one box (4,) xyxy px with others (M, 4); sides count `+1`, as in Pytorch_Retinaface."""
    with np.errstate(over="ignore", invalid="ignore"):
        overlap = _overlap(box, rest)
        iou: FloatArray = overlap / (_area(box, 1) + _area(rest, 1) - overlap)
    return iou


def covered_of_rest(box: FloatArray, rest: FloatArray) -> FloatArray:
    """Which part of each of the others (M, 4) one box (4,) xyxy px covers.

    Sides count `+1` where boxes overlap, but not in an area, as in LFFD (`accuracy_evaluation/predict.py`).
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        covered: FloatArray = _overlap(box, rest) / _area(rest, 0)
    return covered


def nms(
    boxes: FloatArray,
    threshold: float,
    limit: int,
    overlap: Callable[[FloatArray, FloatArray], FloatArray] = iou_with_rest,
) -> npt.NDArray[np.intp]:
    """Indices of the boxes (M, 4) xyxy px, best first, that stay, at most `limit`.

    A box goes if its `overlap` with a better one that stays is above the threshold.
    """
    kept: list[int] = []
    alive = np.ones(len(boxes), bool)
    for index in range(len(boxes)):
        if not alive[index]:
            continue
        kept.append(index)
        if len(kept) == limit:
            break
        alive[index + 1 :] &= ~(overlap(boxes[index], boxes[index + 1 :]) > np.float32(threshold))
    return np.array(kept, np.intp)


def _area(boxes: FloatArray, more: int) -> FloatArray:
    sides = boxes[..., 2:] - boxes[..., :2] + np.float32(more)
    area: FloatArray = sides[..., 0] * sides[..., 1]
    return area


def _overlap(box: FloatArray, rest: FloatArray) -> FloatArray:
    sides = np.minimum(box[2:], rest[:, 2:]) - np.maximum(box[:2], rest[:, :2]) + np.float32(1)
    width, height = np.maximum(np.float32(0), sides).T
    overlap: FloatArray = width * height
    return overlap
