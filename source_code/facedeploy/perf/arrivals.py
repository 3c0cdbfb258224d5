"""When requests arrive. Clocks give seconds."""

import itertools
from collections.abc import Callable, Iterator

Clock = Callable[[], float]


def closed_loop(count: int, clock: Clock) -> Iterator[float]:
    """`count` arrivals, each when the one before it is done: at the moment it is asked for."""
    for _ in range(count):
        yield clock()


class OpenLoop:
    """`count` arrivals at `start + n * interval` s, however long requests take; several threads may share one.

    The next arrival is waited for. Where it lies in the past already, it comes at once and keeps its time, so that
    what a request waited for a busy model counts. `wait` sleeps that many seconds; where it returns True, there are no
    more arrivals.
    """

    def __init__(self, start: float, interval: float, count: int, clock: Clock, wait: Callable[[float], bool]) -> None:
        self.start, self.interval, self.count, self.clock, self.wait = start, interval, count, clock, wait
        self._numbers = itertools.count()

    def __iter__(self) -> Iterator[float]:
        return self

    def __next__(self) -> float:
        number = next(self._numbers)
        if number >= self.count:
            raise StopIteration
        due = self.start + number * self.interval
        while (left := due - self.clock()) > 0:
            if self.wait(left):
                raise StopIteration
        return due
