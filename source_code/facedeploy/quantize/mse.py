"""Ranges whose rounding and clipping errors are least, squared."""

import numpy as np

from facedeploy.quantize.affine import LEVELS
from facedeploy.quantize.clipping import cheapest_range
from facedeploy.quantize.histogram import Float64, Histogram


def mse_range(histogram: Histogram) -> tuple[Float64, Float64]:
    """Low and high (C,): of the ranges tried, the one with the least sum of squared errors in each channel."""
    return cheapest_range(histogram, squared_error)


def squared_error(histogram: Histogram, centers: Float64, low: Float64, high: Float64) -> Float64:
    """The error (C,) of representing the values by LEVELS equal steps from low to high (C,)."""
    step = np.maximum((high - low) / LEVELS, np.finfo(np.float64).tiny)[:, None]
    level = np.clip(np.rint((centers - low[:, None]) / step), 0, LEVELS)
    error: Float64 = (histogram.counts * (level * step + low[:, None] - centers) ** 2).sum(axis=1)
    return error
