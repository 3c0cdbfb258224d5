"""Integers stand for values within half a step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from facedeploy.core.normalization import Normalization
from facedeploy.quantize.affine import affine_of, affine_of_pixels, weight_scale

ENDS = arrays.arrays(np.float64, 5, elements=st.just(0.0) | st.floats(1e-9, 1e6))


@given(ENDS, ENDS)
def test_values_of_the_range_come_back_within_a_step_and_zero_exactly(below, above):
    affine = affine_of(-below, above)
    assert (affine.scale == affine.scale[0]).all()
    step = affine.scale.astype(np.float64)
    zero = affine.zero_point.astype(np.float64)
    for part in (0, 0.25, 0.5, 1):
        for values in (-below * part, above * part):
            integers = np.clip(np.rint(values / step) + zero, 0, 255)
            assert (np.abs((integers - zero) * step - values) <= 1.01 * step).all()
    assert (np.clip(np.rint(0 / step) + zero, 0, 255) == zero).all()


def test_narrow_channel_has_its_spare_integers_at_both_ends():
    affine = affine_of(np.array([-10.0, -1.0, -0.5, 0.0]), np.array([30.0, 3.0, 0.0, 2.0]))
    assert affine.zero_point.tolist() == [64, 64, 255, 0]


@pytest.mark.parametrize(
    ("normalization", "zero_point"),
    [
        (Normalization("BGR", (104, 117, 123)), [104, 117, 123]),
        (Normalization("RGB"), [0, 0, 0]),
        (Normalization("RGB", scale=255.0), [0, 0, 0]),
        (Normalization("RGB", (0.2, 0.4, 0.6), (0.5, 0.25, 1.0), scale=255.0), [51, 102, 153]),
    ],
)
def test_pixels_are_the_integers_when_the_mean_is_a_whole_number_of_steps(normalization, zero_point):
    affine = affine_of_pixels(normalization)
    assert affine.zero_point.tolist() == zero_point
    pixels = np.arange(256)[:, None]
    tensor = (pixels / normalization.scale - np.array(normalization.mean)) / np.array(normalization.std)
    assert (np.rint(tensor / affine.scale) + affine.zero_point == pixels).all()
    np.testing.assert_allclose((pixels - affine.zero_point.astype(int)) * affine.scale, tensor, atol=1e-6, rtol=1e-6)


def test_other_pixels_are_within_half_a_step():
    normalization = Normalization("RGB", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), scale=255.0)
    affine = affine_of_pixels(normalization)
    tensor = (np.arange(256)[:, None] / 255 - np.array(normalization.mean)) / np.array(normalization.std)
    integers = np.clip(np.rint(tensor / affine.scale) + affine.zero_point, 0, 255)
    assert (np.abs((integers - affine.zero_point) * affine.scale - tensor) <= 1.01 * affine.scale / 2).all()


@given(arrays.arrays(np.float64, (3, 2, 3, 3), elements=st.floats(-1e4, 1e4)))
def test_largest_weight_of_each_output_channel_is_127_steps(weight):
    scale = weight_scale(weight, per_channel=True)
    assert scale.shape == (3,)
    for step, values in zip(scale.tolist(), weight, strict=True):
        largest = np.abs(values).max()
        assert largest < 1e-30 or round(largest / step) == 127


def test_weights_have_one_scale_without_channels():
    scale = weight_scale(np.array([[[[1.0]]], [[[-0.01]]]]), per_channel=False)
    assert scale.shape == ()
    assert scale == np.float32(1 / 127)
