"""Measuring: consistent figures, and errors that leave nothing behind."""

import multiprocessing
import os
import signal
import threading
import time
from functools import partial
from multiprocessing import Pipe

import cv2
import numpy as np
import pytest

from facedeploy.core.errors import ArtifactError, ConfigError, DeviceError, FacedeployError, ImageError, ShapeError
from facedeploy.perf import workload
from facedeploy.perf.measure import measure
from facedeploy.perf.processes import receive, run_in_processes
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.runtime.operator import Preprocess


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = set(threading.enumerate())
    yield
    assert not multiprocessing.active_children()
    assert set(threading.enumerate()) <= before


STAGES = ["preprocess", "infer", "postprocess"]
NEEDED = {"p50": 20, "p90": 100, "p95": 200, "p99": 1000}


def check(report):
    calls = report.processes * report.instances * report.iterations
    latency = report.latency_ms
    assert report.images == calls * report.batch
    assert len(report.samples_ms) == calls
    for times in (latency, *report.stage_ms.values()):
        percentiles = [getattr(times, name) for name in NEEDED]
        assert [value is not None for value in percentiles] == [calls >= needed for needed in NEEDED.values()]
        supported = [value for value in percentiles if value is not None]
        ordered = [times.min, *supported, times.max]
        assert ordered == sorted(ordered)
        assert times.min <= times.mean <= times.max
    assert latency.min > 0
    assert report.images_per_second == pytest.approx(report.images / report.seconds)
    assert sum(times.mean for times in report.stage_ms.values()) == pytest.approx(latency.mean)
    assert all(times.max <= latency.max for times in report.stage_ms.values())


@pytest.mark.parametrize(("instances", "iterations"), [(1, 7), (2, 10), (3, 67)])
def test_figures_are_consistent(tiny_artifact, instances, iterations):
    report = measure(tiny_artifact.prefix, instances=instances, iterations=iterations, source_hw=(50, 333), threads=1)
    assert (report.processes, report.instances, report.iterations) == (1, instances, iterations)
    assert (report.batch, report.threads, report.rate, report.note) == (1, 1, None, "")
    assert list(report.stage_ms) == STAGES
    check(report)
    # Each instance runs its batches one after the other, within the time of all.
    assert report.latency_ms.mean * report.iterations <= report.seconds * 1000


def test_open_loop_lasts_as_long_as_its_schedule_and_counts_the_queue(tiny_artifact):
    report = measure(tiny_artifact.prefix, instances=2, iterations=15, rate=150.0, threads=1)
    assert list(report.stage_ms) == ["queue", *STAGES]
    check(report)
    assert report.seconds >= 29 / 150
    assert report.stage_ms["queue"].min >= 0
    busy = report.latency_ms.mean - report.stage_ms["queue"].mean
    assert report.utilization == pytest.approx(150 * busy / 1000 / 2)


def test_open_loop_of_processes_shares_one_schedule(tiny_artifact):
    report = measure(tiny_artifact.prefix, processes=2, iterations=10, rate=40.0, threads=1)
    check(report)
    assert report.seconds >= 18 / 40  # The last request of the first process; both hold every second one.
    assert report.latency_ms.max >= report.stage_ms["queue"].max


def test_each_process_takes_every_so_manyth_request(tiny_artifact, monkeypatch):
    """The third of four processes, at 50 requests a second in all."""
    schedules = []

    class Recorded(workload.OpenLoop):
        def __init__(self, start, interval, count, *rest):
            schedules.append((start, interval, count))
            super().__init__(start, interval, count, *rest)

    monkeypatch.setattr(workload, "OpenLoop", Recorded)
    opening = partial(FaceDetector.from_artifact, tiny_artifact.prefix, instances=2, threads=1)
    samples = workload.run_workload(workload.Workload(opening, iterations=2, rate=50.0, processes=4), index=2)
    ((start, interval, count),) = schedules
    assert (start - samples.started, interval, count) == (pytest.approx(2 / 50), pytest.approx(4 / 50), 4)
    assert len(samples.calls) == 4


def test_overload_counts_from_the_arrival_so_that_nothing_is_omitted(tiny_artifact):
    """However fast the model is, the last request has waited for all before it that had arrived."""
    report = measure(tiny_artifact.prefix, iterations=60, rate=1e6, threads=1)
    check(report)
    busy = sum(report.samples_ms) - 60 * report.stage_ms["queue"].mean
    assert report.latency_ms.max >= busy - 59 / 1e6 * 1000 - 1e-6
    assert report.utilization > 1
    assert any(line.startswith("warning: that is more than they can do") for line in report.lines())


def test_files_are_measured_in_turn_whatever_their_sizes(tiny_artifact, tmp_path, monkeypatch):
    files, shapes = [], []
    for height, width in ((20, 30), (300, 40), (96, 128)):
        files.append(tmp_path / f"{height}.png")
        cv2.imwrite(str(files[-1]), np.full((height, width, 3), 99, np.uint8))
    preprocess = Preprocess.__call__

    def record(self, unit):
        shapes.extend(work.image.shape[:2] for work in unit)
        return preprocess(self, unit)

    monkeypatch.setattr(Preprocess, "__call__", record)
    check(measure(tiny_artifact.prefix, iterations=7, files=files))
    assert len(shapes) >= 7
    assert shapes == ([(20, 30), (300, 40), (96, 128)] * len(shapes))[: len(shapes)]


def test_file_that_is_no_image_is_one_sentence_whatever_the_number_of_processes(tiny_artifact, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no image")
    for processes in (1, 2):
        with pytest.raises(ImageError, match=r"x\.png: is no image"):
            measure(tiny_artifact.prefix, iterations=1, files=[tmp_path / "x.png"], processes=processes)


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"device": 3}, DeviceError, r"device: got 3; the devices here: 0 \("),
        ({"threads": 4096}, DeviceError, "threads: got 4096"),
        (
            {"max_detections": 100_000},
            ConfigError,
            "max_detections: got 100000, expected a whole number from 1 to 5000",
        ),
    ],
)
def test_wrong_options_are_one_sentence(tiny_artifact, options, kind, said):
    with pytest.raises(kind, match=said) as error:
        measure(tiny_artifact.prefix, iterations=1, **options)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("processes", [1, 2])
def test_bad_prefix_is_one_sentence_before_any_process_starts(tmp_path, processes):
    with pytest.raises(ArtifactError, match="no artifact at"):
        measure(tmp_path / "mod", iterations=1, processes=processes)


def test_bug_in_one_instance_is_raised_and_ends_the_others(tiny_artifact, monkeypatch):
    infer = workload.Infer.infer
    calls = []

    def fail_later(self, unit):
        calls.append(self)
        if len(calls) > 20:
            raise ZeroDivisionError("a bug")
        return infer(self, unit)

    monkeypatch.setattr(workload.Infer, "infer", fail_later)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        measure(tiny_artifact.prefix, instances=2, iterations=1_000_000)


@pytest.mark.parametrize("rate", [None, 0.02])
def test_keyboard_interrupt_ends_the_measurement(tiny_artifact, rate):
    """Whether it comes while a batch runs, or while the next one is waited for."""
    # LLVM puts a handler of its own in place of Python's where a process has compiled, as the tests have.
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))
    threading.Timer(0.8, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        measure(tiny_artifact.prefix, instances=2, iterations=1_000_000, rate=rate)
    assert time.monotonic() - begun < 40  # The second request arrives after 50 s.
    time.sleep(0.1)  # The timer's own thread.


def test_messages_come_in_the_order_of_the_channels():
    pairs = [Pipe() for _ in range(3)]
    for number in (2, 0, 1):
        pairs[number][1].send(number)
    assert receive([ours for ours, _ in pairs]) == [0, 1, 2]


def test_error_of_one_process_is_raised_though_others_are_silent():
    pairs = [Pipe() for _ in range(3)]
    pairs[2][1].send(ShapeError("the third's"))
    with pytest.raises(ShapeError, match="the third's"):
        receive([ours for ours, _ in pairs])


def test_death_of_one_process_is_one_sentence_though_others_are_silent():
    pairs = [Pipe() for _ in range(3)]
    pairs[1][1].close()
    with pytest.raises(FacedeployError, match="one of the processes died: run in one process to see why"):
        receive([ours for ours, _ in pairs])


ONE_FAILS = """
import os, time
from facedeploy.core.errors import ShapeError
try:
    os.mkdir({marker!r})
except FileExistsError:
    raise ShapeError("the second's")
time.sleep(600)
"""


def test_worker_that_fails_ends_the_others(tmp_path):
    """Of two processes the first never gets ready."""
    opening = partial(exec, ONE_FAILS.format(marker=str(tmp_path / "first")))
    with pytest.raises(ShapeError, match="the second's"):
        run_in_processes(workload.Workload(opening, 1, processes=2))
