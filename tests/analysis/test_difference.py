"""Sums over images, and faces that lie on one another, held against numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedeploy.analysis.difference import Difference
from facedeploy.analysis.faces import FaceErrors
from facedeploy.detect.slots import Slots, empty_slots


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.floats(0.001, 2))
def test_sums_of_parts_are_those_of_the_whole(seed, parts, noise):
    random = np.random.default_rng(seed)
    expected = random.standard_normal((parts, 5, 7)).astype(np.float32)
    got = expected + np.float32(noise) * random.standard_normal(expected.shape).astype(np.float32)
    difference = Difference()
    for one, other in zip(got, expected, strict=True):
        difference.add(one, other)
    a, b = got.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    assert difference.snr == pytest.approx(10 * np.log10((b @ b) / ((a - b) @ (a - b))), abs=1e-3)
    assert difference.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)


def test_what_has_no_signal_or_no_noise():
    zero, one = np.zeros(3, np.float32), np.ones(3, np.float32)
    for got, expected, snr, cosine in ((one, one, np.inf, 1), (zero, zero, np.inf, 1), (one, zero, -np.inf, 0)):
        difference = Difference()
        difference.add(got, expected)
        assert (difference.snr, difference.cosine) == (snr, pytest.approx(cosine))


def slots_of(*faces):
    """Of one image: (score, x, y, side) each, landmarks on the diagonal."""
    slots = empty_slots(1, 8)
    for place, (score, x, y, side) in enumerate(faces):
        slots.scores[0, place] = score
        slots.boxes[0, place] = x, y, x + side, y + side
        slots.landmarks[0, place] = np.repeat(np.arange(5) * side / 5, 2) + np.tile([x, y], 5)
    return slots


def test_faces_are_matched_once_and_measured_by_their_size():
    expected = slots_of((0.9, 10, 10, 40), (0.8, 12, 10, 40), (0.7, 200, 200, 40), (0.4, 300, 300, 40))
    got = slots_of((0.85, 10, 14, 40), (0.3, 204, 197, 40))
    errors = FaceErrors(confidence=0.5)
    errors.add(got, expected, 0)
    # The second of the float model's faces lies on the first one's match, which is taken; the last is below 0.5.
    assert (errors.expected, errors.matched) == (3, 2)
    assert errors.score_errors == pytest.approx([0.05, 0.4], abs=1e-6)
    assert errors.landmark_errors == pytest.approx([4 / 40, 5 / 40])
    assert errors.ious[0] == pytest.approx(41 * 37 / (2 * 41 * 41 - 41 * 37))


def test_without_faces_nothing_is_matched():
    errors = FaceErrors(confidence=0.5)
    errors.add(empty_slots(1, 8), slots_of((0.9, 10, 10, 40)), 0)
    errors.add(slots_of((0.9, 10, 10, 40)), empty_slots(1, 8), 0)
    errors.add(Slots(*slots_of((0.9, 10, 10, 40))), slots_of((0.9, 110, 10, 40)), 0)
    assert (errors.expected, errors.matched) == (2, 0)


def test_faces_without_landmarks_are_measured_by_box_and_score():
    faces = slots_of((0.9, 10, 10, 40))
    plain = faces._replace(landmarks=np.empty((*faces.scores.shape[:2], 0), np.float32))
    errors = FaceErrors(confidence=0.5)
    errors.add(plain, plain, 0)
    assert (errors.matched, errors.ious, errors.score_errors, errors.landmark_errors) == (1, [1.0], [0.0], [])
