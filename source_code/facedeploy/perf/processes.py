"""One workload in several processes at a time."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from facedeploy.core.errors import FacedeployError
from facedeploy.perf.workload import Samples, Workload, run_workload

_MEETINGS = 2  # All are open; all are warm.


def run_in_processes(load: Workload) -> list[Samples]:
    """What each of `load.processes` measured. Raises FacedeployError when one fails or dies, and ends the others."""
    context = multiprocessing.get_context("spawn")  # A fork would copy the locks of tvm's threads.
    channels, workers = [], []
    try:
        for index in range(load.processes):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_worker, args=(load, index, theirs), daemon=True)
            with _interrupts_blocked():
                worker.start()
            theirs.close()
            channels.append(ours)
            workers.append(worker)
        for _ in range(_MEETINGS):
            receive(channels)
            for channel in channels:
                with suppress(BrokenPipeError):  # It died; the next receive tells.
                    channel.send("go")
        return receive(channels)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def receive(channels: Sequence[Connection]) -> list[Any]:
    """One message from each. Raises the first FacedeployError that any sends."""
    received: dict[Connection, Any] = {}
    while len(received) < len(channels):
        for channel in wait([channel for channel in channels if channel not in received]):
            assert isinstance(channel, Connection)
            try:
                message = channel.recv()
            except (EOFError, ConnectionResetError):
                raise FacedeployError("a measuring process died: measure in one process to see why") from None
            if isinstance(message, FacedeployError):
                raise message
            received[channel] = message
    return [received[channel] for channel in channels]


def _worker(load: Workload, index: int, channel: Connection) -> None:
    def meet() -> None:
        channel.send("here")
        channel.recv()

    with suppress(EOFError, BrokenPipeError):  # The process that started this one has gone.
        try:
            channel.send(run_workload(load, index, meet))
        except FacedeployError as error:
            channel.send(error)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process started inside never sees Ctrl-C, which a terminal sends to all processes: its parent ends it."""
    resource_tracker.ensure_running()  # Starting it would lift the block.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
