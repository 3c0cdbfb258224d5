"""Measuring: consistent figures, and errors that leave nothing behind."""

import json
import multiprocessing
import os
import signal
import threading
import time
from functools import partial
from multiprocessing import Pipe

import pytest

from facedeploy.core.errors import ArtifactError, ConfigError, DeviceError, FacedeployError, ShapeError
from facedeploy.perf import measure as module
from facedeploy.perf.measure import measure
from facedeploy.perf.report import LatencyMs, PerfReport


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = set(threading.enumerate())
    yield
    assert not multiprocessing.active_children()
    assert set(threading.enumerate()) <= before


def check(report):
    latency = report.latency_ms
    assert report.images == report.processes * report.instances * report.iterations * report.batch
    assert 0 < latency.min <= latency.p50 <= latency.p90 <= latency.p95 <= latency.p99 <= latency.max
    assert latency.min <= latency.mean <= latency.max
    assert report.images_per_second == pytest.approx(report.images / report.seconds)
    # Each instance runs its batches one after the other, within the time of all.
    assert latency.mean * report.iterations <= report.seconds * 1000
    assert set(report.stage_ms) == {"preprocess", "infer"}
    assert all(0 < value <= latency.max for value in report.stage_ms.values())


@pytest.mark.parametrize("instances", [1, 2, 3])
def test_figures_are_consistent(tiny_artifact, instances):
    report = measure(tiny_artifact.prefix, instances=instances, iterations=7, source_hw=(50, 333), threads=1)
    assert (report.processes, report.instances, report.iterations, report.batch, report.threads) == (
        1,
        instances,
        7,
        1,
        1,
    )
    assert report.note == ""
    check(report)


def test_report_is_written_as_json_and_for_people(tiny_artifact):
    report = measure(tiny_artifact.prefix, iterations=3)
    data = json.loads(json.dumps(report.to_json()))
    assert data["images"] == 3
    assert data["latency_ms"]["p99"] == report.latency_ms.p99
    assert data["images_per_second"] == report.images_per_second
    lines = report.lines()
    assert lines[0].startswith("processes 1, instances 1 each, batch 1, threads ")
    assert "(3 images in " in lines[1]
    assert "p50" in lines[2]


def test_latency_of_known_samples():
    latency = LatencyMs.of([float(value) for value in range(101)])
    assert latency == LatencyMs(mean=50, min=0, max=100, p50=50, p90=90, p95=95, p99=99)
    report = PerfReport(2, 3, 4, 1, 5, images=120, seconds=2.0, latency_ms=latency, stage_ms={})
    assert report.images_per_second == 60


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"device": 3}, DeviceError, r"device: got 3; the devices here: 0 \(host CPU\)"),
        ({"threads": 4096}, DeviceError, "threads: got 4096"),
        ({"max_detections": 100_000}, ConfigError, "max_detections: got 100000, expected 1 to 5000"),
    ],
)
def test_wrong_options_are_one_sentence(tiny_artifact, options, kind, said):
    with pytest.raises(kind, match=said) as error:
        measure(tiny_artifact.prefix, iterations=1, **options)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("processes", [1, 2])
def test_bad_prefix_is_one_sentence_before_any_process_starts(tmp_path, processes):
    with pytest.raises(ArtifactError, match="no artifact at"):
        measure(tmp_path / "mod", processes=processes)


def test_bug_in_one_instance_is_raised_and_ends_the_others(tiny_artifact, monkeypatch):
    infer = module.Infer.__call__
    calls = []

    def fail_later(self, unit):
        calls.append(self)
        if len(calls) > 20:
            raise ZeroDivisionError("a bug")
        return infer(self, unit)

    monkeypatch.setattr(module.Infer, "__call__", fail_later)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        measure(tiny_artifact.prefix, instances=2, iterations=1_000_000)


def test_keyboard_interrupt_ends_the_measurement(tiny_artifact):
    # LLVM puts a handler of its own in place of Python's where a process has compiled, as the tests have.
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        measure(tiny_artifact.prefix, instances=2, iterations=1_000_000)
    time.sleep(0.1)  # The timer's own thread.


def test_messages_come_in_the_order_of_the_channels():
    pairs = [Pipe() for _ in range(3)]
    for number in (2, 0, 1):
        pairs[number][1].send(number)
    assert module._receive([ours for ours, _ in pairs]) == [0, 1, 2]


def test_error_of_one_process_is_raised_though_others_are_silent():
    pairs = [Pipe() for _ in range(3)]
    pairs[2][1].send(ShapeError("the third's"))
    with pytest.raises(ShapeError, match="the third's"):
        module._receive([ours for ours, _ in pairs])


def test_death_of_one_process_is_one_sentence_though_others_are_silent():
    pairs = [Pipe() for _ in range(3)]
    pairs[1][1].close()
    with pytest.raises(FacedeployError, match="a measuring process died: measure in one process to see why"):
        module._receive([ours for ours, _ in pairs])


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
        module._run_in_processes(module._Workload(opening, None, 1), 2)
