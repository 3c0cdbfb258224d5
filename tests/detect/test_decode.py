import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.core.prior_spec import PriorSpec
from facedeploy.detect.decode import decode_boxes, decode_landmarks
from facedeploy.detect.priors import priors_of

ENCODED = st.floats(-20, 20, width=32)
VARIANCES = st.tuples(st.floats(0.01, 1), st.floats(0.01, 0.3))
PRIORS = priors_of(PriorSpec(), (96, 128))


@settings(deadline=None)
@given(st.integers(0, len(PRIORS) - 1), st.tuples(*[ENCODED] * 4), VARIANCES)
def test_boxes_equal_the_formula(index: int, loc: tuple[float, ...], variances: tuple[float, float]) -> None:
    cx, cy, w, h = map(float, PRIORS[index])
    center_x, center_y = cx + loc[0] * variances[0] * w, cy + loc[1] * variances[0] * h
    wide, high = w * math.exp(loc[2] * variances[1]), h * math.exp(loc[3] * variances[1])
    expected = [center_x - wide / 2, center_y - high / 2, center_x + wide / 2, center_y + high / 2]
    (box,) = decode_boxes(np.array([loc], np.float32), PRIORS[index : index + 1], variances)
    np.testing.assert_allclose(box, expected, rtol=1e-4, atol=1e-4 * max(1, wide, high))
    assert box.dtype == np.float32


@settings(deadline=None)
@given(st.integers(0, len(PRIORS) - 1), st.tuples(*[ENCODED] * 10), VARIANCES)
def test_landmarks_equal_the_formula(index: int, landms: tuple[float, ...], variances: tuple[float, float]) -> None:
    cx, cy, w, h = map(float, PRIORS[index])
    expected = [
        cx + value * variances[0] * w if place % 2 == 0 else cy + value * variances[0] * h
        for place, value in enumerate(landms)
    ]
    (points,) = decode_landmarks(np.array([landms], np.float32), PRIORS[index : index + 1], variances)
    np.testing.assert_allclose(points, expected, rtol=1e-4, atol=1e-4)
    assert points.dtype == np.float32


def test_zero_decodes_to_the_prior_and_its_center() -> None:
    boxes = decode_boxes(np.zeros_like(PRIORS), PRIORS, (0.1, 0.2))
    np.testing.assert_allclose((boxes[:, :2] + boxes[:, 2:]) / 2, PRIORS[:, :2], atol=1e-6)
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], PRIORS[:, 2:], atol=1e-6)
    landmarks = decode_landmarks(np.zeros((len(PRIORS), 10), np.float32), PRIORS, (0.1, 0.2))
    np.testing.assert_array_equal(landmarks.reshape(-1, 5, 2), np.repeat(PRIORS[:, None, :2], 5, axis=1))


def test_huge_encodings_decode_to_no_number_without_a_warning() -> None:
    loc = np.array([[0, 0, 1e4, 0], [np.nan, 0, 0, 0], [0, 0, -1e4, -1e4]], np.float32)
    boxes = decode_boxes(loc, PRIORS[:3], (0.1, 0.2))
    assert np.isfinite(boxes).all(1).tolist() == [False, False, True]
    np.testing.assert_array_equal(boxes[2, :2], boxes[2, 2:])  # No size is left, and the center is where it was.
