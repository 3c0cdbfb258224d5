"""The loops that measure what a machine can do compute what they say, so nothing was optimized away."""

import numpy as np
import pytest
import tvm

from facedeploy.compiler import peaks
from facedeploy.compiler.kernels.peaks import SUMS, multiply_add_loop, triad_loop
from facedeploy.compiler.target import Target


def compiled(function, target: Target):
    return tvm.compile(tvm.IRModule({"f": function.with_attr("global_symbol", "f")}), target=target.tvm_target)["f"]


def test_multiply_add_loop_does_every_step(target: Target) -> None:
    lanes, threads, steps = target.float32_lanes, 2, 5
    seeds = np.random.default_rng(0).normal(0, 100, (SUMS, lanes)).astype(np.float32)
    out = tvm.runtime.empty((threads, SUMS, lanes), "float32")
    compiled(multiply_add_loop("f", threads, lanes, steps), target)(tvm.runtime.tensor(seeds), out)
    expected = seeds.astype(np.float64)
    for _ in range(steps):
        expected = 0.5 * expected + 1
    for part in out.numpy():
        np.testing.assert_allclose(part, expected, rtol=1e-6)


def test_triad_loop_covers_all_of_its_arrays(target: Target) -> None:
    shape = threads, vectors, lanes = 3, 7, target.float32_lanes
    b, c = (np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32) for seed in (0, 1))
    a = tvm.runtime.empty(shape, "float32")
    compiled(triad_loop("f", threads, lanes, vectors), target)(tvm.runtime.tensor(b), tvm.runtime.tensor(c), a)
    np.testing.assert_allclose(a.numpy(), b + 3 * c, rtol=1e-5, atol=1e-6)


def test_figures_count_the_work_of_all_threads(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock by which every run takes a millisecond."""
    monkeypatch.setattr(peaks, "PIECES", 2)
    measured = peaks.Peaks(target, 2)
    monkeypatch.setattr(peaks, "_nanoseconds", lambda function, arguments: 1_000_000)
    operations = 2 * peaks.STEPS * SUMS * target.float32_lanes * 2
    assert measured.gflops() == pytest.approx(operations / 1e6)
    assert measured.gigabytes_per_second() == pytest.approx(2 * 3 * peaks.PIECE_BYTES / 1e6)
