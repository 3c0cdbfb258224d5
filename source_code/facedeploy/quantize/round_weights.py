"""Weights are rounded so that the outputs of a convolution move least, not each weight.

Source: E. Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers (ICLR
2023): weight by weight, those that are not rounded yet make up for the error of the one that is. What remains of the
mean error goes into the bias (M. Nagel et al., Data-Free Quantization, ICCV 2019).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.quantize.affine import WEIGHT_LEVELS
from facedeploy.quantize.moments import Float64, Moments, in_blocks

DAMPING = 0.01  # Of the mean variance of the inputs: added to each, so that nothing is divided by almost 0.
LEAST = 1e-30  # Of inputs that never change.


def round_weights(
    weight: Float64, scale: npt.NDArray[Any], moments: Moments, groups: int
) -> tuple[npt.NDArray[np.int8], Float64]:
    """Weight (O, I / groups, ...) in steps of `scale`, (O,) or one for all -> (its integers, what to add to the bias).

    `moments` are those of its inputs.
    """
    outputs = len(weight)
    steps = np.broadcast_to(scale.astype(np.float64), outputs)
    flat = in_blocks((weight.reshape(outputs, -1) / steps[:, None]).reshape(outputs, 1, -1))
    blocks = flat.shape[1]  # Of one group.
    rounded = np.empty_like(flat)
    for group in range(groups):
        of_group = slice(group * outputs // groups, (group + 1) * outputs // groups)
        for block in range(blocks):
            covariance = moments.covariance[group * blocks + block]
            rounded[of_group, block] = _round_block(flat[of_group, block], covariance)
    error = (flat - rounded).reshape(groups, -1, *flat.shape[1:])
    mean = moments.mean.reshape(groups, 1, *flat.shape[1:])
    shift = (error * mean).sum(axis=(2, 3)).reshape(outputs) * steps
    count = weight[0].size
    integers = rounded.reshape(outputs, -1)[:, :count].reshape(weight.shape)
    return integers.astype(np.int8), shift


def _round_block(weights: Float64, covariance: Float64) -> Float64:
    """Weights (O, k) as integers; `covariance` (k, k) of their inputs."""
    size = len(covariance)
    variance = np.diag(covariance)
    damped = covariance / max(variance.mean(), LEAST) + DAMPING * np.eye(size)
    # Those that matter most first, while many are left to make up for them.
    order = np.argsort(-variance, kind="stable")
    inverse = np.linalg.inv(damped[np.ix_(order, order)])
    factor = np.linalg.cholesky(inverse).T
    left = weights[:, order].copy()
    rounded = np.empty_like(left)
    for index in range(size):
        rounded[:, index] = np.clip(np.rint(left[:, index]), -WEIGHT_LEVELS, WEIGHT_LEVELS)
        error = (left[:, index] - rounded[:, index]) / factor[index, index]
        left[:, index + 1 :] -= error[:, None] * factor[index, index + 1 :]
    result: Float64 = np.empty_like(rounded)
    result[:, order] = rounded
    return result
