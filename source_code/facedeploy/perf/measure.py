"""Closed-loop measurement: every instance runs batch after batch, as fast as it can."""

import multiprocessing
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from facedeploy.config.vdsp_params import VdspParams
from facedeploy.core.errors import FacedeployError
from facedeploy.perf.report import LatencyMs, PerfReport
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.runtime.operator import Infer, Preprocess, Unit, Work
from facedeploy.runtime.threads import available_cores

WARMUP = 3
START_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True)
class Workload:
    """What each process does: `iterations` batches of random images of `source_hw` px on each instance."""

    prefix: Path
    params: VdspParams | None
    source_hw: tuple[int, int] | None
    instances: int
    iterations: int
    threads: int
    device: int


@dataclass(frozen=True)
class _Samples:
    """Start and end on the machine's monotonic clock, s; per batch the seconds of preprocessing and of inference."""

    started: float
    ended: float
    stages: list[tuple[float, float]]
    batch: int


def measure(
    prefix: Path,
    params: VdspParams | None = None,
    *,
    source_hw: tuple[int, int] | None = None,
    processes: int = 1,
    instances: int = 1,
    iterations: int = 100,
    threads: int | None = None,
    device: int = 0,
) -> PerfReport:
    """Run `processes` times `instances` instances of an artifact side by side, each `iterations` batches.

    Images are random, of `source_hw` px (default: the canvas). `threads` per instance: by default the CPUs shared out.
    Raises what opening the artifact raises.
    """
    threads = threads or max(1, available_cores() // (processes * instances))
    load = Workload(prefix, params, source_hw, instances, iterations, threads, device)
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
    )


def _run(load: Workload, ready: Any = None) -> _Samples:
    """One process's share. `ready` is called when all is open and warm, and returns when the others are too."""
    detector = FaceDetector.from_artifact(
        load.prefix, load.params, instances=load.instances, threads=load.threads, device=load.device
    )
    height, width = load.source_hw or detector.params.canvas_hw
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (height, width, 3), np.uint8)
    stages: list[tuple[float, float]] = []
    failures: list[BaseException] = []
    barrier = threading.Barrier(load.instances + 1)

    def loop(infer: Infer) -> None:
        preprocess = Preprocess(detector.params)

        def once() -> tuple[float, float]:
            unit: Unit = [Work("", image, image=image) for _ in range(detector.batch)]
            begun = time.perf_counter()
            preprocess(unit)
            prepared = time.perf_counter()
            infer(unit)
            return prepared - begun, time.perf_counter() - prepared

        try:
            for _ in range(WARMUP):
                once()
            barrier.wait()  # Warm.
            barrier.wait()  # The others too.
            stages.extend([once() for _ in range(load.iterations)])
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [
        threading.Thread(target=loop, args=(Infer(model, detector.params, detector.nms),)) for model in detector.models
    ]
    for thread in threads:
        thread.start()
    started = time.monotonic()
    try:
        barrier.wait()
        if ready:
            ready()
        started = time.monotonic()
        barrier.wait()
    except threading.BrokenBarrierError:
        pass  # The failure is raised below.
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return _Samples(started, time.monotonic(), stages, detector.batch)


def _run_in_processes(load: Workload, processes: int) -> list[_Samples]:
    context = multiprocessing.get_context("spawn")  # A fork would copy the locks of tvm's threads.
    barrier = context.Barrier(processes)
    channels, workers = [], []
    for _ in range(processes):
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=_worker, args=(load, barrier, theirs), daemon=True)
        worker.start()
        theirs.close()
        channels.append(ours)
        workers.append(worker)
    try:
        return [_receive(channel) for channel in channels]
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _worker(load: Workload, barrier: Any, channel: Connection) -> None:
    try:
        channel.send(_run(load, lambda: barrier.wait(START_TIMEOUT_SECONDS)))
    except FacedeployError as error:
        barrier.abort()
        channel.send(error)


def _receive(channel: Connection) -> _Samples:
    try:
        result = channel.recv()
    except EOFError:
        raise FacedeployError("a measuring process died; run it with -p 1 to see why") from None
    if isinstance(result, FacedeployError):
        raise result
    assert isinstance(result, _Samples)
    return result


def table(report: PerfReport) -> Sequence[str]:
    """The report in lines."""
    latency = report.latency_ms
    return (
        f"processes {report.processes}, instances {report.instances} each, batch {report.batch}, "
        f"threads {report.threads} an instance, iterations {report.iterations} each",
        f"throughput  {report.images_per_second:.2f} images/s ({report.images} images in {report.seconds:.2f} s)",
        f"latency ms  mean {latency.mean:.3f}  min {latency.min:.3f}  max {latency.max:.3f}  "
        f"p50 {latency.p50:.3f}  p90 {latency.p90:.3f}  p95 {latency.p95:.3f}  p99 {latency.p99:.3f}",
        "stages ms   " + "  ".join(f"{name} {value:.3f}" for name, value in report.stage_ms.items()) + "  (median)",
    )
