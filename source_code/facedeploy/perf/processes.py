"""The same work in several processes at a time."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from facedeploy.core.errors import FacedeployError
from facedeploy.perf.workload import Samples, Workload, run_workload

_MEETINGS = 2  # All are open; all are warm.
Body = Callable[[int, Connection], object]


@contextmanager
def processes(body: Body, count: int, patience: float = 0.0) -> Iterator[Sequence[Connection]]:
    """Channels to `count` processes that call `body`, each with its number and its end of the channel.

    They end with the block: where they still run, their channels are closed, and after `patience` seconds they are
    stopped. A FacedeployError that `body` raises comes through the channel.
    """
    context = multiprocessing.get_context("spawn")  # A fork would copy the locks of tvm's threads.
    channels, workers = [], []
    try:
        for index in range(count):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(body, index, theirs), daemon=True)
            with _interrupts_blocked():
                worker.start()
            theirs.close()
            channels.append(ours)
            workers.append(worker)
        yield channels
    finally:
        for channel in channels:
            channel.close()
        for worker in workers:
            worker.join(patience)
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def run_in_processes(load: Workload) -> list[Samples]:
    """What each of `load.processes` measured. Raises FacedeployError when one fails or dies, and ends the others."""
    with processes(partial(_measure, load), load.processes) as channels:
        for _ in range(_MEETINGS):
            receive(channels)
            for channel in channels:
                with suppress(BrokenPipeError):  # It died; the next receive tells.
                    channel.send("go")
        return receive(channels)


def receive(channels: Sequence[Connection]) -> list[Any]:
    """One message from each. Raises the first FacedeployError that any sends."""
    received: dict[Connection, Any] = {}
    while len(received) < len(channels):
        for channel, message in messages([channel for channel in channels if channel not in received]):
            received[channel] = message
    return [received[channel] for channel in channels]


def messages(channels: Sequence[Connection]) -> Iterator[tuple[Connection, Any]]:
    """What has come through any of the channels, once something has. Raises FacedeployError that came, or a death."""
    for channel in wait(channels):
        assert isinstance(channel, Connection)
        try:
            message = channel.recv()
        except (EOFError, ConnectionResetError):
            raise FacedeployError("one of the processes died: run in one process to see why") from None
        if isinstance(message, FacedeployError):
            raise message
        yield channel, message


def _work(body: Body, index: int, channel: Connection) -> None:
    with suppress(EOFError, ConnectionError):  # The process that started this one has gone, or wants no more.
        try:
            body(index, channel)
        except FacedeployError as error:
            channel.send(error)


def _measure(load: Workload, index: int, channel: Connection) -> None:
    def meet() -> None:
        channel.send("here")
        channel.recv()

    channel.send(run_workload(load, index, meet))


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process started inside never sees Ctrl-C, which a terminal sends to all processes: its parent ends it."""
    resource_tracker.ensure_running()  # Starting it would lift the block.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
