"""Encoded head outputs -> boxes and landmarks.

Sources: Pytorch_Retinaface, `utils/box_utils.py`; InsightFace, `rcnn/processing/bbox_transform.py`; LFFD,
`accuracy_evaluation/predict.py`.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def decode_boxes(loc: FloatArray, priors: FloatArray, variances: tuple[float, float]) -> FloatArray:
    """Loc (P, 4), priors (P, 4) cx cy w h -> (P, 4) xyxy in 0..1 of the canvas. Huge encodings decode to inf."""
    with np.errstate(over="ignore", invalid="ignore"):
        center = priors[:, :2] + loc[:, :2] * np.float32(variances[0]) * priors[:, 2:]
        size = priors[:, 2:] * np.exp(loc[:, 2:] * np.float32(variances[1]))
        corner = center - size / np.float32(2)
        return np.concatenate([corner, corner + size], axis=1)


def decode_landmarks(landms: FloatArray, priors: FloatArray, variances: tuple[float, float]) -> FloatArray:
    """Landms (P, 10), priors (P, 4) -> (P, 10) x y of five points in 0..1 of the canvas."""
    with np.errstate(over="ignore", invalid="ignore"):
        offsets: FloatArray = _points(landms) * np.float32(variances[0]) * priors[:, None, 2:]
        return (offsets + priors[:, None, :2]).reshape(landms.shape)


def decode_anchor_boxes(loc: FloatArray, anchors: FloatArray) -> FloatArray:
    """Loc (P, 4), anchors (P, 4) cx cy w h px -> (P, 4) xyxy px, a box from 0 to 15 being 16 px wide."""
    with np.errstate(over="ignore", invalid="ignore"):
        center = loc[:, :2] * anchors[:, 2:] + anchors[:, :2]
        half = (np.exp(loc[:, 2:]) * anchors[:, 2:] - np.float32(1)) * np.float32(0.5)
        return np.concatenate([center - half, center + half], axis=1)


def decode_anchor_landmarks(landms: FloatArray, anchors: FloatArray) -> FloatArray:
    """Landms (P, 10), anchors (P, 4) px -> (P, 10) x y px of five points."""
    with np.errstate(over="ignore", invalid="ignore"):
        points: FloatArray = _points(landms) * anchors[:, None, 2:] + anchors[:, None, :2]
    return points.reshape(landms.shape)


def decode_receptive_fields(loc: FloatArray, fields: FloatArray, canvas_hw: tuple[int, int]) -> FloatArray:
    """Loc (P, 4), fields (P, 3) cx cy half px -> (P, 4) xyxy px, cut to the canvas."""
    height, width = canvas_hw
    with np.errstate(over="ignore", invalid="ignore"):
        boxes = fields[:, [0, 1, 0, 1]] - loc * fields[:, 2:]
    corner = np.maximum(boxes[:, :2], np.float32(0))
    return np.concatenate([corner, np.minimum(boxes[:, 2:], np.array([width, height], np.float32))], axis=1)


def _points(landms: FloatArray) -> FloatArray:
    return landms.reshape(len(landms), landms.shape[1] // 2, 2)
