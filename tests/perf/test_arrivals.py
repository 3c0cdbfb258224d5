"""Arrivals in a time that the test makes."""

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.perf.arrivals import OpenLoop, closed_loop


class Time:
    """A clock that only waiting and working move; whole numbers, so that sums are exact."""

    def __init__(self, now=0):
        self.now = now

    def __call__(self):
        return self.now

    def wait(self, seconds):
        assert seconds > 0
        self.now += seconds
        return False


def latencies(arrivals, services, time):
    """One server: (latency, wait) of each request."""
    found = []
    for due, service in zip(arrivals, services, strict=True):
        begun = time()
        time.now += service
        found.append((time() - due, begun - due))
    return found


@settings(deadline=None)
@given(st.integers(1, 50), st.lists(st.integers(0, 200), max_size=30), st.integers(-100, 100), st.integers(0, 40))
def test_open_loop_is_lindleys_recursion(interval, services, now, lead):
    time = Time(now)
    found = latencies(OpenLoop(now + lead, interval, len(services), time, time.wait), services, time)
    free, expected = now, []
    for number, service in enumerate(services):
        due = now + lead + number * interval
        begun = max(due, free)
        free = begun + service
        expected.append((free - due, begun - due))
    assert found == expected


def test_a_stall_is_charged_to_all_that_arrive_meanwhile():
    """Requests every 10, answered in 1, but for one that takes 100."""
    services = [1, 100, *[1] * 12]
    time = Time()
    found = latencies(OpenLoop(0, 10, len(services), time, time.wait), services, time)
    assert [latency for latency, _ in found] == [1, 100, 91, 82, 73, 64, 55, 46, 37, 28, 19, 10, 1, 1]


@settings(deadline=None)
@given(st.lists(st.integers(0, 200), max_size=30))
def test_closed_loop_never_waits(services):
    time = Time()
    found = latencies(closed_loop(len(services), time), services, time)
    assert found == [(service, 0) for service in services]


def test_wait_that_is_told_to_stop_ends_the_arrivals():
    time = Time()
    arrivals = OpenLoop(0, 10, 5, time, lambda seconds: time.now >= 10 or time.wait(seconds))
    assert list(arrivals) == [0, 10]


def test_threads_get_each_arrival_once():
    arrivals = OpenLoop(0, 1, 3000, lambda: 1e9, lambda seconds: False)
    parts = [[] for _ in range(4)]
    threads = [threading.Thread(target=lambda part=part: part.extend(arrivals)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(due for part in parts for due in part) == list(range(3000))
    assert all(part == sorted(part) for part in parts)
