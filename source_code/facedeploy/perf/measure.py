"""Closed-loop measurement: every instance runs batch after batch, as fast as it can."""

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from facedeploy.artifact.store import open_artifact
from facedeploy.config.vdsp_params import VdspParams
from facedeploy.core.errors import FacedeployError
from facedeploy.perf.report import LatencyMs, PerfReport
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.runtime.operator import Infer, Unit, Work
from facedeploy.runtime.threads import threads_of_call

WARMUP = 3


@dataclass(frozen=True)
class _Workload:
    """What each process does: `iterations` batches of random images of `source_hw` px on each instance."""

    open: Callable[[], FaceDetector]
    source_hw: tuple[int, int] | None
    iterations: int


@dataclass(frozen=True)
class _Samples:
    """Start and end on the machine's monotonic clock, s; per batch the seconds of preprocessing and of inference."""

    started: float
    ended: float
    stages: list[tuple[float, float]]
    batch: int
    note: str


def measure(
    prefix: Path,
    params: VdspParams | None = None,
    *,
    confidence_threshold: float | None = None,
    nms_threshold: float | None = None,
    max_detections: int | None = None,
    source_hw: tuple[int, int] | None = None,
    processes: int = 1,
    instances: int = 1,
    iterations: int = 100,
    threads: int | None = None,
    device: int = 0,
) -> PerfReport:
    """Run `processes` times `instances` instances of an artifact side by side, each `iterations` batches.

    Images are random, of `source_hw` px (default: the canvas). `threads` of each instance: by default the config's
    `backend.compile.threads`, else the CPUs shared out among all instances. Raises what opening a FaceDetector raises,
    and FacedeployError when a process dies.
    """
    threads = threads_of_call(threads, open_artifact(prefix).manifest.target.threads, processes * instances)
    opening = partial(
        FaceDetector.from_artifact,
        prefix,
        params,
        confidence_threshold=confidence_threshold,
        nms_threshold=nms_threshold,
        max_detections=max_detections,
        instances=instances,
        threads=threads,
        device=device,
    )
    load = _Workload(opening, source_hw, iterations)
    samples = [_run(load)] if processes == 1 else _run_in_processes(load, processes)
    stages = np.array([stage for sample in samples for stage in sample.stages]) * 1000
    batch = samples[0].batch
    return PerfReport(
        processes=processes,
        instances=instances,
        batch=batch,
        threads=threads,
        iterations=iterations,
        images=len(stages) * batch,
        seconds=max(sample.ended for sample in samples) - min(sample.started for sample in samples),
        latency_ms=LatencyMs.of(stages.sum(axis=1).tolist()),
        stage_ms={"preprocess": float(np.median(stages[:, 0])), "infer": float(np.median(stages[:, 1]))},
        note=samples[0].note,
    )


def _run(load: _Workload, meet: Callable[[], None] = lambda: None) -> _Samples:
    """One process's share. `meet` is called when all is open and warm, and returns when the other processes are too."""
    detector = load.open()
    height, width = load.source_hw or detector.params.canvas_hw
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    preprocess = detector.preprocess()
    infers = [Infer(model, detector.params, detector.nms) for model in detector.models]
    stopped = threading.Event()

    def batches(infer: Infer, count: int) -> list[tuple[float, float]]:
        done: list[tuple[float, float]] = []
        try:
            while len(done) < count and not stopped.is_set():
                done.append(batch(infer))
        except BaseException:
            stopped.set()  # The others need not go on.
            raise
        return done

    def batch(infer: Infer) -> tuple[float, float]:
        unit: Unit = [Work("", image, image=image) for _ in range(detector.batch)]
        begun = time.perf_counter()
        preprocess(unit)
        prepared = time.perf_counter()
        infer(unit)
        return prepared - begun, time.perf_counter() - prepared

    with ExitStack() as stack:
        # An executor for each instance: its warm-up has to run in the thread that is measured, where tvm's pool is.
        executors = [stack.enter_context(ThreadPoolExecutor(1)) for _ in infers]
        stack.callback(stopped.set)

        def run_all(count: int) -> list[tuple[float, float]]:
            pairs = zip(executors, infers, strict=True)
            futures = [executor.submit(batches, infer, count) for executor, infer in pairs]
            return [stages for future in futures for stages in future.result()]

        run_all(WARMUP)
        meet()
        started = time.monotonic()
        stages = run_all(load.iterations)
        return _Samples(started, time.monotonic(), stages, detector.batch, detector.note)


def _run_in_processes(load: _Workload, processes: int) -> list[_Samples]:
    context = multiprocessing.get_context("spawn")  # A fork would copy the locks of tvm's threads.
    channels, workers = [], []
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_worker, args=(load, theirs), daemon=True)
            with _interrupts_blocked():
                worker.start()
            theirs.close()
            channels.append(ours)
            workers.append(worker)
        _receive(channels)  # All are warm.
        for channel in channels:
            with suppress(BrokenPipeError):  # It died; the next receive tells.
                channel.send("go")
        return _receive(channels)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def _worker(load: _Workload, channel: Connection) -> None:
    def meet() -> None:
        channel.send("warm")
        channel.recv()

    with suppress(EOFError, BrokenPipeError):  # The process that started this one has gone.
        try:
            channel.send(_run(load, meet))
        except FacedeployError as error:
            channel.send(error)


def _receive(channels: Sequence[Connection]) -> list[Any]:
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


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process started inside never sees Ctrl-C, which a terminal sends to all processes: its parent ends it."""
    resource_tracker.ensure_running()  # Starting it would lift the block.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
