"""Images through a graph: asynchronously, in bounded memory, results in input order."""

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from facedeploy.runtime.graph import Graph, Operator
from facedeploy.runtime.operator import Unit, Work

_END = object()
_SOURCE_PATIENCE_SECONDS = 0.2


@dataclass
class _Ticket:
    """A unit with its place in line, or the exception that a stage or the source raised in its place."""

    number: int
    unit: Unit
    failure: BaseException | None = None

    def result(self) -> Unit:
        if self.failure is not None:
            raise self.failure
        return self.unit


class Stream:
    """Runs a graph with a thread per operator and queues between the stages.

    At most `depth` units (default: two an operator) are under way at a time, from before the source yields their first
    image until the consumer is done with their last, so memory is bounded however large the dataset is. An image that
    cannot be read comes out with its `error` set; what an operator or the source raises, the consumer gets in its turn.
    """

    def __init__(self, graph: Graph, depth: int | None = None) -> None:
        if depth is not None and depth < 1:
            raise ValueError(f"depth: got {depth}, expected at least 1")
        self.graph = graph
        self.depth = depth or 2 * sum(len(stage.operators) for stage in graph.stages)

    def run_sync(self, works: Iterable[Work]) -> Iterator[Work]:
        """One unit after the other, in the calling thread."""
        for unit in _units(works, self.graph.batch):
            yield from self.graph.run(unit)

    def run_async(self, works: Iterable[Work]) -> Generator[Work, None, None]:
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

    def results(self, works: Iterable[Work]) -> Generator[Work, None, None]:
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
                if isinstance(ticket, _Ticket):  # Else woken, because the total is known now.
                    waiting[ticket.number] = ticket
                del ticket  # No name may keep a unit that the consumer is done with.
                while following in waiting:
                    yield from waiting.pop(following).result()
                    following += 1
                    self.free.release()
        finally:
            self.stopped.set()
            self.free.release()  # Wakes the source.
            for index, stage in enumerate(self.graph.stages):
                for _ in stage.operators:
                    self.queues[index].put(_END)
            for thread in workers:
                thread.join()
            # The source is the caller's: where it blocks, its thread ends when it comes back, or with the process.
            feeder.join(_SOURCE_PATIENCE_SECONDS)

    def _feed(self, works: Iterable[Work]) -> None:
        number = 0
        try:
            units = _units(works, self.graph.batch)
            while self._wait_for_room() and (unit := next(units, None)):
                self.queues[0].put(_Ticket(number, unit))
                number += 1
        except BaseException as error:  # The consumer raises it, in its turn.
            self.queues[-1].put(_Ticket(number, (), error))
            number += 1
        self.total = number
        self.queues[-1].put(_END)

    def _wait_for_room(self) -> bool:
        """Whether the stream still runs."""
        self.free.acquire()
        return not self.stopped.is_set()

    def _work(self, operator: Operator, index: int) -> None:
        while (ticket := self.queues[index].get()) is not _END:
            assert isinstance(ticket, _Ticket)
            if ticket.failure is None and not self.stopped.is_set():
                try:
                    ticket.unit = operator(ticket.unit)
                except BaseException as error:  # The consumer raises it, in its turn.
                    ticket.failure = error
            self.queues[index + 1].put(ticket)
            del ticket


def _units(works: Iterable[Work], batch: int) -> Iterator[Unit]:
    """The source in units; what it gave before it raised is the last of them, and then that is raised."""
    source = iter(works)
    failure: Exception | None = None
    while failure is None:
        unit: list[Work] = []
        try:
            for work in islice(source, batch):
                unit.append(work)
                del work  # Only the unit may keep it.
        except Exception as error:
            failure = error
        if unit:
            yield unit
        elif failure is None:
            return
        del unit
    raise failure
