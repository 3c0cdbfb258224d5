"""The search that kl_divergence and mse share: how far to shrink each channel's range towards 0."""

from collections.abc import Callable

import numpy as np

from facedeploy.quantize.histogram import Float64, Histogram

SHRUNK_TO = np.linspace(1.0, 0.2, 41)  # Of the whole range. The widest comes first: it wins a tie.

# (histogram, its centers, low (C,), high (C,)) -> what the range costs each channel (C,)
Cost = Callable[[Histogram, Float64, Float64, Float64], Float64]


def cheapest_range(histogram: Histogram, cost: Cost) -> tuple[Float64, Float64]:
    """Low and high (C,) of the range that costs least, among those that are the whole one made smaller."""
    centers = histogram.centers
    costs = np.stack([cost(histogram, centers, histogram.low * part, histogram.high * part) for part in SHRUNK_TO])
    part = SHRUNK_TO[costs.argmin(axis=0)]
    return histogram.low * part, histogram.high * part
