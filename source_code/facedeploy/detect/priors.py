"""Where the priors of each kind of head lie."""

import numpy as np
import numpy.typing as npt

from facedeploy.core.anchor_spec import AnchorSpec
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.core.receptive_field_spec import ReceptiveFieldSpec

FloatArray = npt.NDArray[np.float32]


def priors_of(spec: PriorSpec, canvas_hw: tuple[int, int]) -> FloatArray:
    """(P, 4) cx cy w h in 0..1 of the canvas: per stride, cells in row major order, per cell each min_size.

    Source: Pytorch_Retinaface, `layers/functions/prior_box.py`; DSFD-Pytorch-Inference, `dsfd/utils.py`.
    """
    height, width = canvas_hw
    levels = []
    for level, sizes in zip(spec.levels(canvas_hw), spec.min_sizes, strict=True):
        grid = np.empty((level.rows, level.columns, level.priors, 4), np.float64)
        grid[..., 0] = ((np.arange(level.columns) + spec.offset) * level.stride / width)[None, :, None]
        grid[..., 1] = ((np.arange(level.rows) + spec.offset) * level.stride / height)[:, None, None]
        grid[..., 2:] = [spec.size_wh(size, canvas_hw) for size in sizes]
        levels.append(grid.reshape(-1, 4))
    priors = np.concatenate(levels)
    return (np.minimum(priors, 1) if spec.clip else priors).astype(np.float32)


def anchors_of(spec: AnchorSpec, canvas_hw: tuple[int, int]) -> FloatArray:
    """(P, 4) cx cy w h px, in the order of `priors_of`. Source: InsightFace, `rcnn/processing/generate_anchor.py`."""
    levels = []
    for level, scales in zip(spec.levels(canvas_hw), spec.scales, strict=True):
        grid = np.empty((level.rows, level.columns, level.priors, 4), np.float32)
        grid[..., 0] = (np.arange(level.columns) * level.stride + (spec.base_size - 1) / 2)[None, :, None]
        grid[..., 1] = (np.arange(level.rows) * level.stride + (spec.base_size - 1) / 2)[:, None, None]
        grid[..., 2:] = spec.base_size * np.array(scales)[:, None]
        levels.append(grid.reshape(-1, 4))
    return np.concatenate(levels)


def receptive_fields_of(spec: ReceptiveFieldSpec, canvas_hw: tuple[int, int]) -> FloatArray:
    """(P, 3) cx cy px, half a side, in the order of `priors_of`. Source: LFFD, `accuracy_evaluation/predict.py`."""
    levels = []
    for level, scale in zip(spec.levels(canvas_hw), spec.scales, strict=True):
        grid = np.empty((level.rows, level.columns, 3), np.float32)
        grid[..., 0] = (spec.starts[scale] + np.arange(level.columns) * level.stride)[None, :]
        grid[..., 1] = (spec.starts[scale] + np.arange(level.rows) * level.stride)[:, None]
        grid[..., 2] = spec.receptive_fields[scale] / 2
        levels.append(grid.reshape(-1, 3))
    return np.concatenate(levels)
