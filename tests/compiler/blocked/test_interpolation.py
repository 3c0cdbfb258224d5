"""Bilinear resizing equals PyTorch's, halo and unused lanes included, on every level this machine has."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runner import random, run, targets

from facedeploy.compiler.graph.interpolation import PLACES
from facedeploy.compiler.kernels.blocked.interpolation import between, interpolation
from facedeploy.compiler.kernels.blocked.layout import Blocked, block_of, from_blocked, to_blocked
from facedeploy.compiler.target import Target

torch = pytest.importorskip("torch", reason="the oracle of resizing is torch")
TARGETS = targets()
SIDES = st.tuples(st.integers(1, 13), st.integers(1, 13))


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
@given(data=st.data())
@settings(max_examples=5, deadline=None)
def test_bilinear_resizing_equals_torch(target: Target, data: st.DataObject) -> None:
    draw = data.draw
    batch, channels, aligned = draw(st.integers(1, 2)), draw(st.sampled_from([3, 8, 20, 32])), draw(st.booleans())
    sides, outs = draw(SIDES), draw(SIDES)
    x = random((batch, channels, *sides))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x), size=outs, mode="bilinear", align_corners=aligned
    ).numpy()
    source = Blocked(batch, channels, *sides, block_of(channels), draw(st.integers(0, 2)))
    output = Blocked(batch, channels, *outs, source.block, draw(st.integers(0, 2)))
    places = PLACES["align_corners" if aligned else "half_pixel"]
    axes = [between(places(np.arange(out), side, out), side) for side, out in zip(sides, outs, strict=True)]
    arguments = [array for axis in axes for array in (axis.below, axis.above, axis.share)]
    (got,) = run(interpolation("bilinear", source, output), target, [to_blocked(x, source), *arguments], [output.shape])
    values = from_blocked(got, output)
    assert np.abs(values - expected).max() <= 1e-5 * max(1.0, float(np.abs(expected).max()))
    assert np.array_equal(to_blocked(values, output), got)
