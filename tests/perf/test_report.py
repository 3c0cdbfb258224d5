"""Figures for a file and for a person."""

import json
from dataclasses import replace

import pytest

from facedeploy.perf.batches import batch_lines
from facedeploy.perf.report import LatencyMs, PerfReport

SAMPLES = [float(value) for value in range(1, 101)]
LATENCY = LatencyMs.of(SAMPLES)
STAGES = {"preprocess": 0.1, "infer": 0.7, "postprocess": 0.2}


def report(**changes):
    """100 calls of batch 4; each stage takes its share of each call."""
    stage_ms = {name: LatencyMs.of([share * ms for ms in SAMPLES]) for name, share in STAGES.items()}
    figures = {"images": 400, "seconds": 2.0, "latency_ms": LATENCY, "stage_ms": stage_ms, "samples_ms": tuple(SAMPLES)}
    return PerfReport(
        **{"processes": 1, "instances": 2, "batch": 4, "threads": 1, "iterations": 50, **figures, **changes}
    )


def test_latency_of_known_samples():
    assert LatencyMs(mean=50.5, min=1, max=100, p50=50.5, p90=pytest.approx(90.1), p95=None, p99=None) == LATENCY
    thousand = LatencyMs.of([float(value) for value in range(1001)])
    assert thousand == LatencyMs(mean=500, min=0, max=1000, p50=500, p90=900, p95=950, p99=990)


def test_lines_are_the_figures_and_a_table_of_stages():
    assert report().images_per_second == 200
    assert report().lines() == [
        "processes 1, instances 2 each, batch 4, threads 1 an instance, iterations 50 each",
        "throughput  200.00 images/s (400 images in 2.00 s)",
        "latency ms  mean 50.500  min 1.000  max 100.000  p50 50.500  p90 90.100  p95 -  p99 -",
        "stages ms      mean   share     p50     p90  p95  p99",
        "preprocess    5.050   10.0%   5.050   9.010    -    -",
        "infer        35.350   70.0%  35.350  63.070    -    -",
        "postprocess  10.100   20.0%  10.100  18.020    -    -",
        "total        50.500  100.0%  50.500  90.100    -    -",
        "-: too few calls, since at least 10 must lie beyond a percentile: 100, needed: p95 200, p99 1000",
    ]


def test_warm_up_that_never_became_steady_is_a_warning():
    (line,) = set(report(steady=False).lines()) - set(report().lines())
    assert line.startswith("warning: the warm-up never became steady (medians of successive calls within 5%)")


@pytest.mark.parametrize(("rate", "utilization", "warned"), [(10.0, 0.25, False), (80.0, 2.0, True)])
def test_open_loop_says_how_busy_the_instances_are(rate, utilization, warned):
    """Calls of 50 ms beside 0.5 ms in the queue, on two instances."""
    stage_ms = {"queue": LatencyMs.of([0.5]), **report().stage_ms}
    loaded = report(rate=rate, stage_ms=stage_ms)
    assert loaded.utilization == pytest.approx(utilization)
    lines = loaded.lines()
    assert lines[4].split()[:3] == ["queue", "0.500", "1.0%"]
    said = next(line for line in lines if line.startswith("open loop: "))
    assert f"{rate:g} requests/s of batch 4 arrived" in said
    assert f"busy {utilization:.1%} of the time" in said
    assert any(line.startswith("warning: that is more than they can do") for line in lines) == warned


def test_json_has_every_figure_and_no_sample():
    data = json.loads(json.dumps(report().to_json()))
    assert set(data) == {
        "processes", "instances", "batch", "threads", "iterations", "images", "seconds", "latency_ms", "stage_ms",
        "steady", "rate", "note", "images_per_second", "utilization",
    }  # fmt: skip
    assert data["latency_ms"] == {
        "mean": 50.5, "min": 1.0, "max": 100.0, "p50": 50.5, "p90": pytest.approx(90.1), "p95": None, "p99": None,
    }  # fmt: skip
    assert {name: times["mean"] for name, times in data["stage_ms"].items()} == pytest.approx(
        {"preprocess": 5.05, "infer": 35.35, "postprocess": 10.1}
    )
    assert (data["images_per_second"], data["utilization"], data["steady"]) == (200.0, None, True)


def test_table_of_batches_has_a_line_for_each():
    one = replace(report(), batch=1, images=100)
    assert batch_lines({1: one, 4: report()}) == [
        "batch  preprocess   infer  postprocess   total     p50  p99  ms/image  images/s",
        "    1       5.050  35.350       10.100  50.500  50.500    -    50.500     50.00",
        "    4       5.050  35.350       10.100  50.500  50.500    -    12.625    200.00",
        "-: too few calls, since at least 10 must lie beyond a percentile: 100, needed: p95 200, p99 1000",
    ]
