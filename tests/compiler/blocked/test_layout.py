"""The blocked layout: round trips and packing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.compiler.kernels.blocked.layout import (
    Blocked,
    block_of,
    from_blocked,
    pack_bias,
    pack_dense,
    pack_depthwise,
    to_blocked,
)


@given(
    st.integers(1, 2),
    st.integers(1, 40),
    st.integers(1, 7),
    st.integers(1, 7),
    st.integers(0, 3),
    st.sampled_from([4, 8, 16]),
)
@settings(max_examples=60, deadline=None)
def test_round_trip_keeps_every_number(n: int, c: int, h: int, w: int, halo: int, block: int) -> None:
    layout = Blocked(n, c, h, w, block, halo)
    array = np.random.default_rng(0).standard_normal((n, c, h, w)).astype(np.float32)
    buffer = to_blocked(array, layout)
    assert buffer.shape == layout.shape
    assert np.array_equal(from_blocked(buffer, layout), array)
    assert np.count_nonzero(buffer) == np.count_nonzero(array)  # The halo and the lanes behind are zero.


@pytest.mark.parametrize(("channels", "block"), [(1, 4), (4, 4), (5, 8), (8, 8), (9, 16), (16, 16), (64, 16)])
def test_narrow_tensors_get_narrow_blocks(channels: int, block: int) -> None:
    assert block_of(channels) == block


def test_dense_weights_lie_where_the_kernel_reads_them() -> None:
    weights = np.arange(5 * 6 * 2 * 3, dtype=np.float32).reshape(5, 6, 2, 3)
    packed = pack_dense(weights, [[0, 1, 2, 3], [4, 5]], block_in=4, block_out=4)
    assert packed.shape == (2, 2, 2, 3, 4, 4)
    for output in range(5):
        for channel in range(6):
            block, lane = divmod(channel, 4)
            assert np.array_equal(packed[output // 4, block, :, :, lane, output % 4], weights[output, channel])
    assert np.count_nonzero(packed) == np.count_nonzero(weights)


def test_depthwise_weights_and_bias_lie_where_the_kernel_reads_them() -> None:
    weights = np.arange(1, 5 * 9 + 1, dtype=np.float32).reshape(5, 1, 3, 3)
    packed = pack_depthwise(weights, block=4)
    for channel in range(5):
        assert np.array_equal(packed[channel // 4, :, :, channel % 4], weights[channel, 0])
    assert np.array_equal(pack_bias(np.array([1, 2, 3, 4, 5], np.float32), 4), [[1, 2, 3, 4], [5, 0, 0, 0]])
