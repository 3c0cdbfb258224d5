"""Calls before the measurement, until they take as long as one another."""

from collections.abc import Callable, Sequence
from statistics import median

from facedeploy.perf.arrivals import Clock

WINDOW = 5  # Calls of each instance.
AGREEING = 3  # Windows in succession whose medians agree
TOLERANCE = 0.05  # within this share of the smallest.
MOST_WINDOWS = 40
MOST_SECONDS = 10.0


def warm_up(run_window: Callable[[], Sequence[float]], clock: Clock) -> bool:
    """Run windows, each giving the seconds of its calls, until the last few agree; whether they ever did.

    It is given up after 40 windows, and after 10 s once there were enough to compare.
    """
    begun, medians = clock(), []
    for _ in range(MOST_WINDOWS):
        medians.append(median(run_window()))
        last = medians[-AGREEING:]
        if len(last) == AGREEING:
            if max(last) <= min(last) * (1 + TOLERANCE):
                return True
            if clock() - begun > MOST_SECONDS:
                return False
    return False
