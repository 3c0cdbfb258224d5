"""Encoded head outputs -> boxes and landmarks. Source: Pytorch_Retinaface, `utils/box_utils.py`."""

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
        offsets: FloatArray = landms.reshape(-1, 5, 2) * np.float32(variances[0]) * priors[:, None, 2:]
        return (offsets + priors[:, None, :2]).reshape(-1, 10)
