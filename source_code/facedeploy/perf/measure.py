"""How fast an artifact is under a load: as much as it takes (closed loop), or so many requests a second (open loop)."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from facedeploy.artifact.store import open_artifact
from facedeploy.config.vdsp_params import VdspParams
from facedeploy.perf.processes import run_in_processes
from facedeploy.perf.report import LatencyMs, PerfReport
from facedeploy.perf.workload import STAGES, Workload, run_workload
from facedeploy.runtime.device import choose_devices
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.runtime.ladder import Canvas
from facedeploy.runtime.threads import threads_of_call


def measure(
    prefix: Path,
    params: VdspParams | None = None,
    *,
    confidence_threshold: float | None = None,
    nms_threshold: float | None = None,
    max_detections: int | None = None,
    canvas: Canvas | None = None,
    batch: int | None = None,
    source_hw: tuple[int, int] | None = None,
    files: Sequence[Path] = (),
    rate: float | None = None,
    processes: int = 1,
    instances: int = 1,
    iterations: int,
    threads: int | None = None,
    device: int | Sequence[int] = 0,
) -> PerfReport:
    """Run `processes` times `instances` instances of an artifact side by side, each `iterations` batches.

    `canvas` and `batch` are what `FaceDetector.from_artifact` says.
    Images are `files`, decoded beforehand, or random, of `source_hw` px (default: the canvas). With `rate`, so many
    batches arrive a second, evenly, for whichever instance of a process is free, and latency counts from then; without,
    each instance runs batch after batch. `threads` of each instance: by default the config's
    `backend.compile.threads`, else the CPUs shared out among all instances. Raises what opening a FaceDetector raises,
    ImageError for a file that is no image, and FacedeployError when a process dies.
    """
    threads = threads_of_each(prefix, threads, processes, instances, device)
    opening = partial(
        FaceDetector.from_artifact,
        prefix,
        params,
        confidence_threshold=confidence_threshold,
        nms_threshold=nms_threshold,
        max_detections=max_detections,
        canvas=canvas,
        batch=batch,
        instances=instances,
        threads=threads,
        device=device,
    )
    load = Workload(opening, iterations, source_hw, tuple(files), rate, processes)
    samples = [run_workload(load)] if processes == 1 else run_in_processes(load)
    calls = np.array([call for sample in samples for call in sample.calls]) * 1000
    measured = STAGES if rate else STAGES[1:]  # Nothing queues where the next batch begins when one is done.
    stages = {name: calls[:, STAGES.index(name)] for name in measured}
    latencies = np.sum(list(stages.values()), axis=0).tolist()
    return PerfReport(
        processes=processes,
        instances=instances,
        batch=samples[0].batch,
        threads=threads,
        iterations=iterations,
        images=len(calls) * samples[0].batch,
        seconds=max(sample.ended for sample in samples) - min(sample.started for sample in samples),
        latency_ms=LatencyMs.of(latencies),
        stage_ms={name: LatencyMs.of(times.tolist()) for name, times in stages.items()},
        steady=all(sample.steady for sample in samples),
        rate=rate,
        samples_ms=tuple(latencies),
        note=samples[0].note,
    )


def threads_of_each(
    prefix: Path, asked: int | None, processes: int, instances: int, device: int | Sequence[int] = 0
) -> int:
    """Threads of each of `processes` times `instances` instances: `asked`, the config's, or their share of the CPUs."""
    built_for = open_artifact(prefix).manifest.target.threads
    return threads_of_call(asked, built_for, processes * instances, choose_devices(device, instances))
