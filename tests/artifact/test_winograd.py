"""Kernels of Winograd's transforms, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedeploy.artifact.winograd import POINTS, TAPS, kernels_of, transform
from facedeploy.compiler.kernels.blocked.winograd import pack_winograd


@pytest.mark.parametrize("shape", [(16, 16), (48, 64), (16, 5)])
def test_packed_weights_are_their_kernels_and_come_of_them(shape: tuple[int, int]) -> None:
    weights = np.random.default_rng(0).normal(0, 1, (*shape, 3, 3)).astype(np.float32)
    channels = list(range(shape[1]))
    packed = pack_winograd(weights, [channels], shape[1], 16)
    kernels = kernels_of(packed.reshape(POINTS, -1))
    assert kernels is not None
    # (9, out blocks, input channels, lanes)
    expected = weights.reshape(-1, 16, shape[1], TAPS).transpose(3, 0, 2, 1).reshape(TAPS, -1)
    np.testing.assert_allclose(kernels, expected, rtol=0, atol=2e-6)
    again = np.empty((POINTS, kernels.shape[1]), np.float32)
    transform(kernels, again)
    np.testing.assert_allclose(again, packed.reshape(POINTS, -1), rtol=0, atol=2e-6)


@given(st.integers(0, 2**32), st.integers(1, 9), st.floats(1e-30, 1e30))
def test_numbers_that_are_no_transforms_have_no_kernels(seed: int, count: int, scale: float) -> None:
    numbers = np.random.default_rng(seed).normal(0, scale, (POINTS, count)).astype(np.float32)
    assert kernels_of(numbers) is None


def test_zeros_are_the_transform_of_zeros() -> None:
    kernels = kernels_of(np.zeros((POINTS, 2), np.float32))
    assert kernels is not None
    assert not kernels.any()
