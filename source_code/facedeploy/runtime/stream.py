"""Images through a graph: asynchronously, in bounded memory, results in input order."""

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from facedeploy.runtime.graph import Graph, Operator
from facedeploy.runtime.operator import Unit, Work

_END = object()
_POLL_SECONDS = 0.1  # How soon a blocked thread notices that the stream was stopped.


@dataclass
class _Ticket:
    """A unit with its place in line, or the exception that a stage or the source raised in its place."""

    number: int
    unit: Unit
    failure: BaseException | None = None


class Stream:
    """Runs a graph with a thread per operator and queues between the stages.

    At most `depth` units are under way at a time, from the source to the consumer, so memory is bounded however large
    the dataset is. An image that cannot be read comes out with its `error` set; a bug of an operator raises.
    """

    def __init__(self, graph: Graph, depth: int | None = None) -> None:
        self.graph = graph
        self.depth = depth or 2 * sum(len(stage.operators) for stage in graph.stages)

    def run_sync(self, works: Iterable[Work]) -> Iterator[Work]:
        """One unit after the other, in the calling thread."""
        for unit in _units(works, self.graph.batch):
            yield from self.graph.run(unit)

    def run_async(self, works: Iterable[Work]) -> Iterator[Work]:
        """All stages at once; yields in input order. Closing the generator early stops its threads."""
        return _Run(self.graph, self.depth).results(works)


class _Run:
    """The threads and queues of one pass over a source."""

    def __init__(self, graph: Graph, depth: int) -> None:
        self.graph = graph
        self.free = threading.Semaphore(depth)
        self.stopped = threading.Event()
        # One queue before each stage, and one behind the last. The semaphore bounds what they all hold together.
        self.queues: list[queue.SimpleQueue[object]] = [queue.SimpleQueue() for _ in range(len(graph.stages) + 1)]
        self.total: int | None = None  # Units in all, once the source has ended.

    def results(self, works: Iterable[Work]) -> Iterator[Work]:
        feeder = threading.Thread(target=self._feed, args=(works,), name="source", daemon=True)
        workers = [
            threading.Thread(target=self._work, args=(operator, index), name=stage.name, daemon=True)
            for index, stage in enumerate(self.graph.stages)
            for operator in stage.operators
        ]
        for thread in (feeder, *workers):
            thread.start()
        waiting: dict[int, _Ticket] = {}
        following = 0
        try:
            while self.total is None or following < self.total:
                ticket = self.queues[-1].get()
                if not isinstance(ticket, _Ticket):
                    continue  # Woken, because the total is known now.
                waiting[ticket.number] = ticket
                while following in waiting:
                    ready = waiting.pop(following)
                    following += 1
                    self.free.release()
                    if ready.failure is not None:
                        raise ready.failure
                    yield from ready.unit
        finally:
            self.stopped.set()
            for index, stage in enumerate(self.graph.stages):
                for _ in stage.operators:
                    self.queues[index].put(_END)
            for thread in workers:
                thread.join()
            # The source is the caller's; where it blocks for good, its thread ends with the process.
            feeder.join(timeout=2 * _POLL_SECONDS)

    def _feed(self, works: Iterable[Work]) -> None:
        number = 0
        try:
            for unit in _units(works, self.graph.batch):
                while not self.free.acquire(timeout=_POLL_SECONDS):
                    if self.stopped.is_set():
                        return
                if self.stopped.is_set():
                    return
                self.queues[0].put(_Ticket(number, unit))
                number += 1
        except BaseException as error:  # The consumer raises it, in its turn.
            self.queues[-1].put(_Ticket(number, (), error))
            number += 1
        self.total = number
        self.queues[-1].put(_END)

    def _work(self, operator: Operator, index: int) -> None:
        while (ticket := self.queues[index].get()) is not _END:
            assert isinstance(ticket, _Ticket)
            if ticket.failure is None and not self.stopped.is_set():
                try:
                    ticket.unit = operator(ticket.unit)
                except BaseException as error:  # The consumer raises it, in its turn.
                    ticket.failure = error
            self.queues[index + 1].put(ticket)


def _units(works: Iterable[Work], batch: int) -> Iterator[Unit]:
    source = iter(works)
    while unit := list(islice(source, batch)):
        yield unit
