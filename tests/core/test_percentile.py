"""Percentiles, and the rule that withholds them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.core.percentile import PERCENTS, percentile, samples_needed, withheld_note


@pytest.mark.parametrize("percent", PERCENTS)
def test_as_few_samples_as_leave_ten_beyond_the_percentile_support_it(percent):
    needed = samples_needed(percent)
    assert needed * (100 - percent) >= 10 * 100 > (needed - 1) * (100 - percent)
    values = list(range(needed))
    assert percentile(values[1:], percent) is None
    found = percentile(values, percent)
    assert sum(value > found for value in values) == 10


def test_numbers_that_people_are_told():
    assert [samples_needed(percent) for percent in PERCENTS] == [20, 100, 200, 1000]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.sampled_from(PERCENTS))
def test_what_is_supported_is_numpys(samples, percent):
    found = percentile(samples, percent)
    if len(samples) >= samples_needed(percent):
        assert found == np.percentile(samples, percent)
    else:
        assert found is None


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1000, ""),
        (999, "-: too few calls, since at least 10 must lie beyond a percentile: 999, needed: p99 1000"),
        (
            20,
            "-: too few calls, since at least 10 must lie beyond a percentile: 20, needed: p90 100, p95 200, p99 1000",
        ),
    ],
)
def test_note_says_what_is_missing(count, said):
    assert withheld_note(count) == said
