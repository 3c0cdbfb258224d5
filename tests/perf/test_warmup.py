"""When a warm-up is over."""

import itertools

import pytest

from facedeploy.perf.warmup import warm_up


def run(medians, seconds=0.0):
    """How many windows ran, and what came of it; each takes so many seconds."""
    now = itertools.count(0, seconds)
    windows = iter(medians)
    ran = []

    def window():
        ran.append(next(windows))
        return [ran[-1], 0.0, 1e9]  # Its median is what counts.

    return warm_up(window, lambda: next(now)), len(ran)


@pytest.mark.parametrize(
    ("medians", "windows"),
    [
        ([1.0, 1.0, 1.0], 3),
        ([1.0, 1.05, 1.02], 3),
        ([9.0, 5.0, 3.0, 2.0, 2.05, 2.01], 6),
        ([1.0, 1.04, 1.08, 1.12, 1.1], 5),  # Neighbors are alike, but it still drifts.
    ],
)
def test_it_ends_when_three_successive_windows_agree(medians, windows):
    assert run(medians) == (True, windows)


def test_it_is_given_up_after_many_windows():
    assert run(itertools.cycle([1.0, 1.2])) == (False, 40)


def test_it_is_given_up_after_ten_seconds_but_not_before_there_are_three_windows():
    assert run(itertools.cycle([1.0, 1.2]), seconds=4.0) == (False, 5)
    assert run(itertools.cycle([1.0, 1.2]), seconds=100.0) == (False, 3)
    assert run([1.0, 1.0, 1.0], seconds=100.0) == (True, 3)
