"""What one measuring process does: instances of a model, each in a thread, answer requests as they arrive."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facedeploy.image.decode import read_image
from facedeploy.image.operations import Pixels
from facedeploy.perf.arrivals import OpenLoop, closed_loop
from facedeploy.perf.warmup import WINDOW, warm_up
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.runtime.operator import Infer, ToSource, Work

STAGES = ("queue", "preprocess", "infer", "postprocess")
Call = tuple[float, float, float, float]  # Seconds of each stage.


@dataclass(frozen=True)
class Workload:
    """What each process does: `iterations` requests, each a batch of images, for each instance.

    Images are those of `files`, in turn, or a random one of `source_hw` px (default: the canvas). `rate`: requests a
    second that arrive at all `processes` together; None: as fast as they are done.
    """

    open: Callable[[], FaceDetector]
    iterations: int
    source_hw: tuple[int, int] | None = None
    files: tuple[Path, ...] = ()
    rate: float | None = None
    processes: int = 1


@dataclass(frozen=True)
class Samples:
    """Start and end on the machine's monotonic clock, s; what each call took; whether the warm-up became steady."""

    started: float
    ended: float
    calls: list[Call]
    batch: int
    steady: bool
    note: str


def run_workload(load: Workload, index: int = 0, meet: Callable[[], None] = lambda: None) -> Samples:
    """The share of process `index`.

    `meet` returns when all processes have called it: once when all is open, and again when all is warm.
    """
    detector = load.open()
    images = _images(load, detector)
    turns = itertools.count()
    preprocess, to_source = detector.preprocess, ToSource()
    infers = detector.infers
    clock = time.monotonic
    stopped = threading.Event()

    def answer(infer: Infer, arrivals: Iterable[float]) -> list[Call]:
        calls: list[Call] = []
        try:
            for due in arrivals:
                if stopped.is_set():
                    break
                calls.append(call(infer, due))
        except BaseException:
            stopped.set()  # The others need not go on.
            raise
        return calls

    def call(infer: Infer, due: float) -> Call:
        sources = [images[next(turns) % len(images)] for _ in range(detector.batch)]
        unit = [Work("", source, image=source) for source in sources]
        begun = clock()
        preprocess(unit)
        prepared = clock()
        calls = infer.infer(unit)
        inferred = clock()
        infer.postprocess(calls)
        to_source(unit)
        return begun - due, prepared - begun, inferred - prepared, clock() - inferred

    with ExitStack() as stack:
        # An executor for each instance: its warm-up has to run in the thread that is measured, where tvm's pool is.
        executors = [stack.enter_context(ThreadPoolExecutor(1)) for _ in infers]
        stack.callback(stopped.set)

        def answer_all(arrivals: Sequence[Iterable[float]]) -> list[Call]:
            """An instance for each of `arrivals`."""
            parts = zip(executors, infers, arrivals, strict=True)
            futures = [executor.submit(answer, infer, times) for executor, infer, times in parts]
            return [call for future in futures for call in future.result()]

        def as_fast_as_possible(count: int) -> list[Call]:
            return answer_all([closed_loop(count, clock) for _ in infers])

        meet()
        steady = warm_up(lambda: [sum(times) for times in as_fast_as_possible(WINDOW)], clock)
        meet()
        started = clock()
        if load.rate is None:
            calls = as_fast_as_possible(load.iterations)
        else:
            # Each process takes every so-manyth request, so that they need not talk to each other.
            first, interval = started + index / load.rate, load.processes / load.rate
            count = load.iterations * len(infers)
            calls = answer_all([OpenLoop(first, interval, count, clock, stopped.wait)] * len(infers))
        return Samples(started, clock(), calls, detector.batch, steady, detector.note)


def _images(load: Workload, detector: FaceDetector) -> list[Pixels]:
    """Decoded before anything is measured."""
    if load.files:
        return [read_image(path) for path in load.files]
    height, width = load.source_hw or detector.canvases[0].canvas_hw
    return [np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)]
