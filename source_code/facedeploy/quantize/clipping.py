"""The search that kl_divergence and mse share: how far to move the ends of a channel's range towards 0."""

from collections.abc import Callable

import numpy as np

from facedeploy.quantize.histogram import Float64, Histogram

SHRUNK_TO = np.linspace(1.0, 0.2, 33)  # Of an end. The widest comes first: it wins a tie.

# (histogram, its centers, low (C,), high (C,)) -> what the range costs each channel (C,)
Cost = Callable[[Histogram, Float64, Float64, Float64], Float64]


def cheapest_range(histogram: Histogram, cost: Cost) -> tuple[Float64, Float64]:
    """Low and high (C,) of the range that costs least: first of those with a lower high end, then a higher low one.

    Either end alone, since outliers are seldom on both sides.
    """
    centers = histogram.centers
    low, high = histogram.low, histogram.high
    high = high * _cheapest([cost(histogram, centers, low, high * part) for part in SHRUNK_TO])
    low = low * _cheapest([cost(histogram, centers, low * part, high) for part in SHRUNK_TO])
    return low, high


def _cheapest(costs: list[Float64]) -> Float64:
    part: Float64 = SHRUNK_TO[np.stack(costs).argmin(axis=0)]
    return part
