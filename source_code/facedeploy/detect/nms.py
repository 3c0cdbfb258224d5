"""Greedy non-maximum suppression."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def iou_with_rest(box: FloatArray, rest: FloatArray) -> FloatArray:
    """IoU of one box (4,) xyxy px with others (M, 4); sides count `+1`, as in Pytorch_Retinaface."""
    one = np.float32(1)
    with np.errstate(over="ignore", invalid="ignore"):
        area = (box[2] - box[0] + one) * (box[3] - box[1] + one)
        areas = (rest[:, 2] - rest[:, 0] + one) * (rest[:, 3] - rest[:, 1] + one)
        width = np.maximum(np.float32(0), np.minimum(box[2], rest[:, 2]) - np.maximum(box[0], rest[:, 0]) + one)
        height = np.maximum(np.float32(0), np.minimum(box[3], rest[:, 3]) - np.maximum(box[1], rest[:, 1]) + one)
        overlap = width * height
        iou: FloatArray = overlap / (area + areas - overlap)
    return iou


def nms(boxes: FloatArray, threshold: float, limit: int) -> npt.NDArray[np.intp]:
    """Indices of the boxes (M, 4) xyxy px, best first, that stay: at most `limit`; IoU > threshold (strict) goes."""
    kept: list[int] = []
    alive = np.ones(len(boxes), bool)
    for index in range(len(boxes)):
        if not alive[index]:
            continue
        kept.append(index)
        if len(kept) == limit:
            break
        alive[index + 1 :] &= ~(iou_with_rest(boxes[index], boxes[index + 1 :]) > np.float32(threshold))
    return np.array(kept, np.intp)
