"""Blocked pooling equals PyTorch's, halo and unused lanes included, on every level this machine has."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runner import FloatArray, random, run, targets

from facedeploy.compiler.kernels.blocked.direct import Window
from facedeploy.compiler.kernels.blocked.layout import Blocked, block_of, from_blocked, to_blocked
from facedeploy.compiler.kernels.blocked.pooling import AVERAGE, AVERAGE_PADDED, MAX, pooling
from facedeploy.compiler.target import Target

torch = pytest.importorskip("torch", reason="the oracle of pooling is torch")
TARGETS = targets()
level = pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])


def pooled(x: FloatArray, window: Window, kind: str, ceil: bool) -> FloatArray:
    tensor = torch.from_numpy(x)
    if kind == MAX:
        result = torch.nn.functional.max_pool2d(tensor, window.kernel, window.stride, window.padding, ceil_mode=ceil)
    else:
        result = torch.nn.functional.avg_pool2d(
            tensor, window.kernel, window.stride, window.padding, ceil, count_include_pad=kind == AVERAGE_PADDED
        )
    return result.numpy()


def check(target: Target, x: FloatArray, window: Window, kind: str, ceil: bool = False, halos: tuple = (0, 0)) -> None:
    expected = pooled(x, window, kind, ceil)
    batch, channels, *sides = x.shape
    source = Blocked(batch, channels, *sides, block_of(channels), halos[0])
    output = Blocked(batch, channels, *expected.shape[2:], source.block, halos[1])
    (got,) = run(pooling("pooling", source, output, window, kind), target, [to_blocked(x, source)], [output.shape])
    values = from_blocked(got, output)
    assert np.abs(values - expected).max() <= 1e-5
    assert np.array_equal(to_blocked(values, output), got)


@level
@given(data=st.data())
@settings(max_examples=6, deadline=None)
def test_pooling_equals_torch(target: Target, data: st.DataObject) -> None:
    draw = data.draw
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    padding = tuple(draw(st.integers(0, side // 2)) for side in kernel)
    window = Window(kernel, draw(st.tuples(st.integers(1, 3), st.integers(1, 3))), padding)
    kind = draw(st.sampled_from([MAX, AVERAGE, AVERAGE_PADDED]))
    ceil = kind != AVERAGE_PADDED and draw(st.booleans())
    shape = draw(st.tuples(st.integers(1, 2), st.integers(1, 35), st.integers(5, 12), st.integers(5, 19)))
    # All negative, so that a zero of the halo would show as a maximum.
    x = random(shape) - 5
    check(target, x, window, kind, ceil, draw(st.tuples(st.integers(0, 2), st.integers(0, 2))))


@level
@pytest.mark.parametrize("kind", [MAX, AVERAGE])
def test_pooling_of_everything_equals_torch(target: Target, kind: str) -> None:
    check(target, random((2, 20, 9, 13)) - 5, Window((9, 13)), kind)


@level
def test_window_wider_than_the_image_counts_what_there_is(target: Target) -> None:
    check(target, random((1, 8, 4, 3)) - 5, Window((7, 5), (2, 2), (3, 2)), AVERAGE)
    check(target, random((1, 8, 4, 3)) - 5, Window((7, 5), (2, 2), (3, 2)), MAX)
