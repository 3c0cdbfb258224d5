"""Priors of an SSD-style head."""

import numpy as np
import numpy.typing as npt

from facedeploy.core.prior_spec import PriorSpec


def priors_of(spec: PriorSpec, canvas_hw: tuple[int, int]) -> npt.NDArray[np.float32]:
    """(P, 4) cx cy w h in 0..1 of the canvas: per stride, cells in row major order, per cell each min_size.

    Source: Pytorch_Retinaface, `layers/functions/prior_box.py`; DSFD-Pytorch-Inference, `dsfd/utils.py`.
    """
    height, width = canvas_hw
    levels = []
    for stride, sizes in zip(spec.strides, spec.min_sizes, strict=True):
        rows, columns = -(-height // stride), -(-width // stride)
        grid = np.empty((rows, columns, len(sizes), 4), np.float64)
        grid[..., 0] = ((np.arange(columns) + spec.offset) * stride / width)[None, :, None]
        grid[..., 1] = ((np.arange(rows) + spec.offset) * stride / height)[:, None, None]
        grid[..., 2:] = [spec.size_wh(size, canvas_hw) for size in sizes]
        levels.append(grid.reshape(-1, 4))
    priors = np.concatenate(levels)
    return (np.minimum(priors, 1) if spec.clip else priors).astype(np.float32)
