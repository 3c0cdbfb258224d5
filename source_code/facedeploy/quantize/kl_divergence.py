"""Ranges whose integers tell the most of how values are distributed."""

import numpy as np

from facedeploy.quantize.affine import LEVELS
from facedeploy.quantize.clipping import cheapest_range
from facedeploy.quantize.histogram import Float64, Histogram

NEVER = 1e-9  # Stands for the probability of what integers cannot tell, so that its logarithm is finite.


def kl_divergence_range(histogram: Histogram) -> tuple[Float64, Float64]:
    """Low and high (C,): of the ranges tried, the one with the least divergence in each channel.

    Source: S. Migacz, 8-bit Inference with TensorRT (GTC 2017), for ranges with two ends.
    """
    return cheapest_range(histogram, divergence)


def divergence(histogram: Histogram, centers: Float64, low: Float64, high: Float64) -> Float64:
    """KL(P || Q) (C,) for a range low to high (C,).

    P is the distribution with what lies outside counted in the outermost bins inside. Q is the one inside, as LEVELS
    equal steps and one more tell it: each level's values are spread evenly over the bins it has that P fills.
    """
    counts = histogram.counts.astype(np.float64)
    channels, bins = counts.shape
    width = (histogram.high - histogram.low)[:, None] / bins
    inside = (centers >= low[:, None] - width / 2) & (centers <= high[:, None] + width / 2)
    rows = np.arange(channels)
    first, last = inside.argmax(axis=1), bins - 1 - inside[:, ::-1].argmax(axis=1)
    before = np.cumsum(counts, axis=1)
    p = np.where(inside, counts, 0)
    p[rows, first] += before[rows, first] - counts[rows, first]
    p[rows, last] += before[:, -1] - before[rows, last]

    step = np.maximum((high - low) / LEVELS, np.finfo(np.float64).tiny)[:, None]
    level = np.clip(np.rint((centers - low[:, None]) / step), 0, LEVELS).astype(np.int64)
    slot = (level + (LEVELS + 1) * rows[:, None]).ravel()
    size = channels * (LEVELS + 1)
    mass = np.bincount(slot, np.where(inside, counts, 0).ravel(), size)
    filled = np.bincount(slot, (p > 0).ravel(), size)
    q = np.where(p > 0, (mass / np.maximum(filled, 1))[slot].reshape(p.shape), 0)

    p /= np.maximum(p.sum(axis=1, keepdims=True), 1)
    q /= np.maximum(q.sum(axis=1, keepdims=True), 1)
    told = np.log(np.maximum(p, NEVER)) - np.log(np.maximum(q, NEVER))
    result: Float64 = np.where(p > 0, p * told, 0).sum(axis=1)
    return result
