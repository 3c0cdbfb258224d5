"""Ranges that leave out the rarest values."""

import numpy as np

from facedeploy.quantize.histogram import Float64, Histogram

KEPT = 0.9999  # Of the values of a channel, at either end.


def percentile_range(histogram: Histogram) -> tuple[Float64, Float64]:
    """Low and high (C,): at most 1 - KEPT of a channel's values lie below, and as many above; 0 stays inside."""
    cumulated = np.cumsum(histogram.counts, axis=1)
    total = cumulated[:, -1:]
    width = (histogram.high - histogram.low) / histogram.bins
    first = (cumulated > (1 - KEPT) * total).argmax(axis=1)
    last = (cumulated >= KEPT * total).argmax(axis=1)
    low = histogram.low + first * width
    high = np.minimum(histogram.low + (last + 1) * width, histogram.high)
    return np.minimum(low, 0), np.maximum(high, 0)
