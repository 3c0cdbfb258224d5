"""Extents and histograms against numpy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.quantize.histogram import Extent, Histogram

BATCHES = st.integers(0, 2**32 - 1).map(
    lambda seed: [
        (
            np.random.default_rng([seed, part]).normal(size=(3, 50)) * 10.0 ** np.array([[-3], [0], [2]])
            + [[0], [3], [0]]
        ).astype(np.float32)
        for part in range(4)
    ]
)


def extent_of(batches):
    extent = Extent(len(batches[0]))
    for values in batches:
        extent.add(values)
    return extent


def histogram_of(batches, bins=64):
    histogram = Histogram(extent_of(batches), bins)
    for values in batches:
        histogram.add(values)
    return histogram


@given(BATCHES)
def test_extent_is_that_of_all_values_and_zero(batches):
    values = np.concatenate([*batches, np.zeros((3, 1))], axis=1)
    extent = extent_of(batches)
    np.testing.assert_array_equal(extent.low, values.min(axis=1))
    np.testing.assert_array_equal(extent.high, values.max(axis=1))


@given(BATCHES)
def test_histogram_counts_as_numpy_does_but_for_values_on_an_edge(batches):
    histogram = histogram_of(batches)
    values = np.concatenate(batches, axis=1)
    for channel, counts in enumerate(histogram.counts):
        expected, _ = np.histogram(values[channel], 64, (histogram.low[channel], histogram.high[channel]))
        assert counts.sum() == values.shape[1]
        assert np.abs(np.cumsum(counts) - np.cumsum(expected)).max() <= 2


@settings(max_examples=20)
@given(BATCHES)
def test_order_of_images_makes_no_difference(batches):
    np.testing.assert_array_equal(histogram_of(batches).counts, histogram_of(batches[::-1]).counts)


def test_channel_that_is_always_zero_is_counted():
    histogram = histogram_of([np.zeros((2, 5), np.float32)])
    assert histogram.counts.sum(axis=1).tolist() == [5, 5]
    assert (histogram.centers == 0).all()


def test_more_images_take_no_more_memory():
    few, many = (histogram_of([np.ones((2, 30), np.float32)] * count) for count in (1, 40))
    assert few.counts.nbytes == many.counts.nbytes
    assert many.counts.sum() == 40 * few.counts.sum()
