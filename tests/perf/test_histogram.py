"""The picture of latencies."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.perf.histogram import draw_histogram

BAR = np.array([200, 140, 60], np.uint8)
FLOOR, CEILING = 420, 60


def bars(picture):
    """Height in px of the bar in each column of the picture."""
    return (picture[CEILING:FLOOR] == BAR).all(axis=2).sum(axis=0)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=50))
def test_any_latencies_make_a_picture_with_bars(samples):
    picture = draw_histogram(samples, "any")
    assert (picture.shape, picture.dtype) == ((480, 960, 3), np.uint8)
    assert bars(picture).max() > (FLOOR - CEILING) / 2


def test_bars_are_as_high_as_there_are_calls():
    """Two kinds of calls, one three times as frequent as the other: too few for any percentile's line."""
    picture = draw_histogram([1.0] * 9 + [100.0] * 3, "two")
    heights = bars(picture)
    first, second = heights[:480].max(), heights[480:].max()
    assert first == pytest.approx(FLOOR - CEILING, abs=3)
    assert second == pytest.approx(first / 3, abs=3)
    columns = np.flatnonzero(heights)
    assert columns.min() < 100
    assert columns.max() > 890


def test_supported_percentiles_are_marked_and_others_not():
    def marked(count):
        picture = draw_histogram(np.linspace(1, 2, count).tolist(), "")
        colors = {"p50": (180, 0, 0), "p90": (160, 0, 160), "p95": (0, 110, 220), "p99": (0, 0, 210)}
        return [name for name, color in colors.items() if (picture[CEILING:FLOOR] == color).all(axis=2).any()]

    assert marked(19) == []
    assert marked(100) == ["p50", "p90"]
    assert marked(1000) == ["p50", "p90", "p95", "p99"]


def test_title_with_any_letters_is_no_error():
    assert cv2.imencode(".png", draw_histogram([1.0], "ü/é/mod: 1 call" * 20))[0]
