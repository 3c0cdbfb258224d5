"""Clocks in the threads of a stream."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from time import perf_counter, process_time, thread_time

from facedeploy.core.cores import available_cores
from facedeploy.core.percentile import percentile
from facedeploy.runtime.graph import Operator, Team
from facedeploy.runtime.operator import Unit, Work
from facedeploy.runtime.statistics import StageStatistics, StreamStatistics
from facedeploy.runtime.ticket import Ticket

LATEST_CALLS = 10_000  # Whose latencies a worker keeps, so that memory does not grow with a camera's frames.


class WorkerMeter:
    """What one thread of a stream does, s. That thread alone writes it."""

    def __init__(self) -> None:
        self.units = self.images = self.failed = 0
        self.busy = self.cpu = self.input_wait = self.room_wait = self.queued = 0.0
        self.latencies: deque[float] = deque(maxlen=LATEST_CALLS)

    def source(self, units: Iterator[Unit]) -> Iterator[Unit]:
        """Units that it takes as much time to make as passes until each comes."""
        while True:
            with self._working():
                unit = next(units, None)
            if unit is None:
                self.latencies.pop()  # That was the end.
                return
            self._count(unit)
            yield unit
            del unit

    def operator(self, operator: Operator) -> Operator:
        """The operator, at work while it is called."""

        def measured(unit: Unit) -> Unit:
            failed = _failed(unit)
            self._count(unit)
            with self._working():
                unit = operator(unit)
            self.failed += _failed(unit) - failed
            return unit

        return measured

    def inbox(self, take: Callable[[], object]) -> Callable[[], object]:
        """What takes from the queue before a stage; waits meanwhile, as the ticket did before."""

        def measured() -> object:
            began = perf_counter()
            ticket = take()
            self.input_wait += perf_counter() - began
            if isinstance(ticket, Ticket):
                self.taken(ticket)
            return ticket

        return measured

    def taken(self, ticket: Ticket) -> None:
        """Note that a ticket has waited until now."""
        self.queued += perf_counter() - ticket.queued_at

    def room(self, wait: Callable[[], bool]) -> Callable[[], bool]:
        """What waits until fewer units are under way."""

        def measured() -> bool:
            began = perf_counter()
            try:
                return wait()
            finally:
                self.room_wait += perf_counter() - began

        return measured

    def consumer(self, results: Generator[Work, None, None]) -> Generator[Work, None, None]:
        """Results for a consumer, who is at work from each one until the next is asked for."""
        with closing(results):
            while True:
                began = perf_counter()
                work = next(results, None)
                self.input_wait += perf_counter() - began
                if work is None:
                    return
                self._count((work,))
                with self._working():
                    yield work
                    del work

    @contextmanager
    def _working(self) -> Iterator[None]:
        cpu, began = thread_time(), perf_counter()
        try:
            yield
        finally:
            seconds = perf_counter() - began
            self.cpu += thread_time() - cpu
            self.busy += seconds
            self.latencies.append(seconds)

    def _count(self, unit: Unit) -> None:
        self.units += 1
        self.images += len(unit)


class StreamMeter:
    """Measures one run of a stream that is given it; `statistics` may be asked for at any time, also after the end."""

    def __init__(self, cpu_elsewhere: Callable[[], float] = lambda: 0.0) -> None:
        """`cpu_elsewhere` tells the CPU time, seconds, of other processes that work for the run."""
        self._cpu_elsewhere = cpu_elsewhere
        self.source, self.consumer = WorkerMeter(), WorkerMeter()
        self._teams: list[tuple[Team, list[list[WorkerMeter]]]] = []
        self._began = 0.0, 0.0
        self._ended: tuple[float, float] | None = None

    def begin(self, teams: Sequence[Team]) -> Sequence[Sequence[Sequence[WorkerMeter]]]:
        """Start the clock; returns, for each team and each of its workers, a meter for each stage."""
        if self._teams:
            raise ValueError("this meter has measured a run: give each run one of its own")
        self._teams = [(team, [[WorkerMeter() for _ in team.stages] for _ in range(team.workers)]) for team in teams]
        self._began = self._now()
        return [workers for _, workers in self._teams]

    def results(self, results: Generator[Work, None, None]) -> Generator[Work, None, None]:
        """Results for the consumer, and the end of the clock with them."""
        try:
            yield from self.consumer.consumer(results)
        finally:
            self._ended = self._now()

    def _now(self) -> tuple[float, float]:
        return perf_counter(), process_time() + self._cpu_elsewhere()

    def statistics(self) -> StreamStatistics:
        """What was done so far. Raises ValueError before the run has begun."""
        if not self._teams:
            raise ValueError("there is nothing to tell: no run with this meter has begun")
        seconds, cpu_s = (end - began for began, end in zip(self._began, self._ended or self._now(), strict=True))
        stages = [_of_stage("input", [self.source], _busy([self.source]), seconds)]
        for team, workers in self._teams:
            by_stage = list(zip(*workers, strict=True))
            busy = sum(map(_busy, by_stage))
            stages += [
                _of_stage(stage.name, meters, busy, seconds)
                for stage, meters in zip(team.stages, by_stage, strict=True)
            ]
        stages.append(_of_stage("output", [self.consumer], _busy([self.consumer]), seconds))
        return StreamStatistics(seconds, cpu_s, available_cores(), tuple(stages))


def _busy(workers: Sequence[WorkerMeter]) -> float:
    return sum(worker.busy for worker in workers)


def _of_stage(name: str, workers: Sequence[WorkerMeter], team_busy: float, seconds: float) -> StageStatistics:
    latencies_ms = [1000 * latency for worker in workers for latency in worker.latencies.copy()]
    return StageStatistics(
        name=name,
        workers=len(workers),
        units=sum(worker.units for worker in workers),
        images=sum(worker.images for worker in workers),
        failed=sum(worker.failed for worker in workers),
        busy_s=_busy(workers),
        cpu_s=sum(worker.cpu for worker in workers),
        input_wait_s=sum(worker.input_wait for worker in workers),
        room_wait_s=sum(worker.room_wait for worker in workers),
        busy_share=team_busy / (seconds * len(workers)),
        # Those that wait at a moment, on average, are all their waits together in the time of the run (Little's law).
        queue_length=sum(worker.queued for worker in workers) / seconds,
        p50_ms=percentile(latencies_ms, 50),
        p95_ms=percentile(latencies_ms, 95),
    )


def _failed(unit: Unit) -> int:
    return sum(work.error is not None for work in unit)
