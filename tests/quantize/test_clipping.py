"""The ranges that percentile, mse and kl_divergence choose, against what the values themselves say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.quantize.clipping import SHRUNK_TO
from facedeploy.quantize.histogram import Extent, Histogram
from facedeploy.quantize.kl_divergence import divergence, kl_divergence_range
from facedeploy.quantize.mse import mse_range
from facedeploy.quantize.percentile import LEFT_OUT, percentile_range

SEEDS = st.integers(0, 2**32 - 1)
METHODS = pytest.mark.parametrize("method", [percentile_range, mse_range, kl_divergence_range])


def histogram_of(values, bins=2048):
    values = np.asarray(values, np.float32)
    extent = Extent(len(values))
    extent.add(values)
    histogram = Histogram(extent, bins)
    histogram.add(values)
    return histogram


def some_values(seed, count=20_000):
    """Channels as activations have them: symmetric, one-sided, heavy tails."""
    rng = np.random.default_rng(seed)
    leaky = rng.normal(size=count)
    return np.stack(
        [rng.normal(size=count), np.where(leaky > 0, leaky, 0.1 * leaky), np.abs(rng.standard_t(3, count)) * 7]
    ).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_percentile_is_within_a_bin_of_the_quantile(seed):
    values = some_values(seed)
    histogram = histogram_of(values)
    low, high = percentile_range(histogram)
    bin_width = (histogram.high - histogram.low) / histogram.bins
    exact = np.sort(values, axis=1)
    cut = round(LEFT_OUT * values.shape[1])
    assert (np.abs(low - np.minimum(exact[:, cut], 0)) <= 1.01 * bin_width).all()
    assert (np.abs(high - exact[:, -1 - cut]) <= 1.01 * bin_width).all()


def rounding_error(values, low, high):
    step = (high - low) / 255
    return ((np.clip(np.rint((values - low) / step), 0, 255) * step + low - values) ** 2).sum()


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_mse_chooses_the_range_of_least_error(seed):
    values = some_values(seed).astype(np.float64)
    histogram = histogram_of(values)
    for channel, low, high in zip(values, *mse_range(histogram), strict=True):
        lowest, highest = channel.min(initial=0), channel.max()
        best = min(rounding_error(channel, lowest, highest * part) for part in SHRUNK_TO)
        best = min(best, *(rounding_error(channel, lowest * part, high) for part in SHRUNK_TO))
        assert rounding_error(channel, low, high) <= best * 1.02  # Bins stand for the values in them.


def plain_divergence(counts, centers, low, high):
    """The same, one bin at a time."""
    width = centers[1] - centers[0]
    inside = [index for index, center in enumerate(centers) if low - width / 2 <= center <= high + width / 2]
    p = [float(counts[index]) for index in inside]
    p[0] += sum(counts[: inside[0]])
    p[-1] += sum(counts[inside[-1] + 1 :])
    levels = [int(np.clip(round((centers[index] - low) / (high - low) * 255), 0, 255)) for index in inside]
    q = []
    for level, mass in zip(levels, p, strict=True):
        members = [position for position, other in enumerate(levels) if other == level and p[position] > 0]
        whole = sum(float(counts[inside[position]]) for position in members)
        q.append(whole / len(members) if mass else 0.0)
    p, q = np.array(p) / sum(p), np.array(q) / sum(q)
    return sum(a * (np.log(max(a, 1e-9)) - np.log(max(b, 1e-9))) for a, b in zip(p, q, strict=True) if a)


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.sampled_from([1.0, 0.7, 0.31]))
def test_divergence_is_what_it_is_bin_by_bin(seed, part):
    histogram = histogram_of(some_values(seed, 3000), bins=512)
    low, high = histogram.low * part, histogram.high * part
    got = divergence(histogram, histogram.centers, low, high)
    for channel in range(3):
        arguments = histogram.counts[channel], histogram.centers[channel], low[channel], high[channel]
        assert got[channel] == pytest.approx(plain_divergence(*arguments), rel=1e-6, abs=1e-9)


@METHODS
def test_range_holds_zero_and_lies_within_the_extent(method):
    histogram = histogram_of(np.concatenate([some_values(0), some_values(1) + 5, some_values(2) - 50]))
    low, high = method(histogram)
    assert (histogram.low <= low).all()
    assert (low <= 0).all()
    assert (high >= 0).all()
    assert (high <= histogram.high).all()


@METHODS
def test_lone_outlier_is_cut_off(method):
    values = np.clip(some_values(0, 200_000)[:1], -4, 4)
    values[0, 0] = 30
    _, high = method(histogram_of(values))
    assert high[0] < 25


@METHODS
def test_channel_that_is_always_zero_has_no_range(method):
    low, high = method(histogram_of(np.zeros((2, 100))))
    assert not low.any()
    assert not high.any()


def test_values_spread_evenly_keep_their_range_by_mse():
    histogram = histogram_of(np.linspace(-1, 3, 50_000)[None])
    low, high = mse_range(histogram)
    assert (low[0], high[0]) == (-1, 3)
