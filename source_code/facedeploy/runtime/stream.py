"""Images through a graph: asynchronously, in bounded memory, results in input order."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from time import perf_counter

from facedeploy.runtime.graph import Graph, Operator
from facedeploy.runtime.meter import StreamMeter, WorkerMeter
from facedeploy.runtime.operator import Unit, Work
from facedeploy.runtime.ticket import Ticket

_END = object()
_SOURCE_PATIENCE_SECONDS = 0.2


class Stream:
    """Runs a graph with a thread per operator and queues between the stages, but for stages that are joined.

    At most `depth` units (default: two a thread) are under way at a time, from before the source yields their first
    image until the consumer is done with their last, so memory is bounded however large the dataset is. An image that
    cannot be read comes out with its `error` set; what an operator or the source raises, the consumer gets in its turn.
    """

    def __init__(self, graph: Graph, depth: int | None = None) -> None:
        if depth is not None and depth < 1:
            raise ValueError(f"depth: got {depth}, expected at least 1")
        self.graph = graph
        self.depth = depth or 2 * sum(team.workers for team in graph.teams)

    def run_sync(self, works: Iterable[Work]) -> Iterator[Work]:
        """One unit after the other, in the calling thread."""
        for unit in _units(works, self.graph.batch):
            yield from self.graph.run(unit)

    def run_async(
        self, works: Iterable[Work], *, meter: StreamMeter | None = None, cancel: Callable[[], None] = lambda: None
    ) -> Generator[Work, None, None]:
        """All stages at once; yields in input order. Closing the generator early stops its threads.

        `meter` measures the run. `cancel` is called when the run ends early, before its threads are waited for: it may
        end what an operator waits for, of which nobody wants the result any more.
        """
        results = _Run(self.graph, self.depth, meter, cancel).results(works)
        return results if meter is None else meter.results(results)


class _Run:
    """The threads and queues of one pass over a source."""

    def __init__(self, graph: Graph, depth: int, meter: StreamMeter | None, cancel: Callable[[], None]) -> None:
        self.graph, self.meter, self.cancel = graph, meter, cancel
        self.teams = graph.teams
        self.meters = meter and meter.begin(self.teams)
        # A token for each unit that may come: a semaphore of C, where Python's own takes ten times as long.
        self.free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(depth):
            self.free.put(None)
        self.stopped = threading.Event()
        # One queue before each team, and one behind the last. The tokens bound what they all hold together.
        self.queues: list[queue.SimpleQueue[object]] = [queue.SimpleQueue() for _ in range(len(self.teams) + 1)]
        self.total: int | None = None  # Units in all, once the source has ended.

    def results(self, works: Iterable[Work]) -> Generator[Work, None, None]:
        feeder = threading.Thread(target=self._feed, args=(works,), name="source", daemon=True)
        workers = [
            threading.Thread(
                target=self._work,
                args=(team.operators(worker), index, self.meters and self.meters[index][worker]),
                name=team.stages[-1].name,
                daemon=True,
            )
            for index, team in enumerate(self.teams)
            for worker in range(team.workers)
        ]
        for thread in (feeder, *workers):
            thread.start()
        waiting: dict[int, Ticket] = {}
        following = 0
        try:
            while self.total is None or following < self.total:
                ticket = self.queues[-1].get()
                if isinstance(ticket, Ticket):  # Else woken, because the total is known now.
                    waiting[ticket.number] = ticket
                del ticket  # No name may keep a unit that the consumer is done with.
                while following in waiting:
                    yield from self._taken(waiting.pop(following)).result()
                    following += 1
                    self.free.put(None)
        except BaseException:
            self.stopped.set()
            self.cancel()
            raise
        finally:
            self.stopped.set()
            self.free.put(None)  # Wakes the source.
            for index, team in enumerate(self.teams):
                for _ in range(team.workers):
                    self.queues[index].put(_END)
            for thread in workers:
                thread.join()
            # The source is the caller's: where it blocks, its thread ends when it comes back, or with the process.
            feeder.join(_SOURCE_PATIENCE_SECONDS)

    def _feed(self, works: Iterable[Work]) -> None:
        number, wait_for_room = 0, self._wait_for_room
        try:
            units = _units(works, self.graph.batch)
            if self.meter is not None:
                units, wait_for_room = self.meter.source.source(units), self.meter.source.room(wait_for_room)
            while wait_for_room() and (unit := next(units, None)):
                self._put(0, Ticket(number, unit))
                number += 1
        except BaseException as error:  # The consumer raises it, in its turn.
            self._put(-1, Ticket(number, (), error))
            number += 1
        self.total = number
        self.queues[-1].put(_END)

    def _wait_for_room(self) -> bool:
        """Whether the stream still runs."""
        self.free.get()
        return not self.stopped.is_set()

    def _put(self, index: int, ticket: Ticket) -> None:
        ticket.queued_at = perf_counter()
        self.queues[index].put(ticket)

    def _taken(self, ticket: Ticket) -> Ticket:
        """A ticket whose turn has come."""
        if self.meter is not None:
            self.meter.consumer.taken(ticket)
        return ticket

    def _work(self, operators: Sequence[Operator], index: int, meters: Sequence[WorkerMeter] | None) -> None:
        take: Callable[[], object] = self.queues[index].get
        if meters is not None:
            take = meters[0].inbox(take)
            operators = [meter.operator(operator) for meter, operator in zip(meters, operators, strict=True)]
        while (ticket := take()) is not _END:
            assert isinstance(ticket, Ticket)
            if ticket.failure is None and not self.stopped.is_set():
                try:
                    for operator in operators:
                        ticket.unit = operator(ticket.unit)
                except BaseException as error:  # The consumer raises it, in its turn.
                    ticket.failure = error
            self._put(index + 1, ticket)
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
