"""Ranges that leave out the rarest values."""

import numpy as np

from facedeploy.quantize.histogram import Float64, Histogram

LEFT_OUT = 0.0001  # Of the values of a channel, at either end.


def percentile_range(histogram: Histogram) -> tuple[Float64, Float64]:
    """Low and high (C,): LEFT_OUT of a channel's values lie below, and as many above; 0 stays inside."""
    cumulated = np.cumsum(histogram.counts, axis=1)
    total = cumulated[:, -1:]
    left_out = np.rint(LEFT_OUT * total)
    width = (histogram.high - histogram.low) / histogram.bins
    first = (cumulated > left_out).argmax(axis=1)
    last = (cumulated >= total - left_out).argmax(axis=1)
    low = histogram.low + first * width
    high = np.minimum(histogram.low + (last + 1) * width, histogram.high)
    return np.minimum(low, 0), np.maximum(high, 0)
