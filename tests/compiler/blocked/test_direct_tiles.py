"""What the model chooses for direct convolutions keeps to the caches that it says it keeps to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner import targets

from facedeploy.compiler.kernels.blocked.direct import L1_BYTES, PANEL_PIXELS, Source, Window, direct_tiles
from facedeploy.compiler.kernels.blocked.layout import LANES, Blocked

SIDES, BLOCKS = st.integers(1, 80), st.integers(1, 128)


@given(
    sides=st.tuples(SIDES, SIDES),
    blocks=st.tuples(BLOCKS, BLOCKS),
    kernel=st.sampled_from([1, 3]),
    stride=st.integers(1, 2),
    target=st.sampled_from(targets()),
)
def test_a_panel_of_weights_fits_l1_and_many_pixels_share_it(sides, blocks, kernel, stride, target):
    (height, width), (inputs, outputs) = sides, blocks
    source = Blocked(1, inputs * LANES, height * stride, width * stride, LANES, kernel // 2)
    output = Blocked(1, outputs * LANES, height, width, LANES)
    window = Window((kernel, kernel), (stride, stride), (kernel // 2, kernel // 2))
    tile = direct_tiles([Source(source, 0, inputs)], output, window, target)[0]
    assert 1 <= tile.blocks <= min(4, outputs)
    assert 1 <= tile.pixels <= width
    assert 1 <= tile.rows <= height
    assert tile.panel is not None
    if tile.panel < inputs:
        assert tile.panel * tile.blocks * (kernel * LANES) ** 2 * 4 <= L1_BYTES
        assert tile.rows * width >= min(PANEL_PIXELS, height * width)


def test_tiles_of_resnet_are_those_that_were_measured_to_be_best():
    """Measured with AVX-512: 2048 -> 512 at 20 px in one pass, 256 -> 1024 without panels, a 3x3 with two blocks."""
    target = targets()[0]
    if target.vector_bits != 512:
        pytest.skip("this machine has no AVX-512")

    def first(inputs, outputs, side, kernel=1, stride=1):
        source = Blocked(1, inputs, side * stride, side * stride, LANES, kernel // 2)
        window = Window((kernel, kernel), (stride, stride), (kernel // 2, kernel // 2))
        output = Blocked(1, outputs, side, side, LANES)
        return direct_tiles([Source(source, 0, inputs // LANES)], output, window, target)[0]

    def sizes(tile):
        return tile.pixels, tile.blocks, tile.rows, tile.panel

    assert sizes(first(2048, 512, 20)) == (5, 4, 20, 4)
    assert sizes(first(256, 1024, 40)) == (8, 2, 12, 16)
    assert sizes(first(512, 512, 20, 3, 2)) == (10, 2, 20, 1)
    assert sizes(first(256, 64, 160)) == (5, 4, 3, 4)
