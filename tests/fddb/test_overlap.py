"""Ellipses against boxes: known areas, a count of fine pixels, and what turning or moving must not change."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.fddb.overlap import areas_inside, overlaps

SQUARE = np.array([[0.0, 0.0, 20.0, 20.0]])


def ellipse(major=10.0, minor=10.0, angle=0.0, x=10.0, y=10.0):
    return np.array([[major, minor, angle, x, y]])


def counted_iou(face, box, image_hw=None, step=0.05):
    """IoU by the centers of small squares; its error is about step over the size."""
    major, minor, angle, cx, cy = face
    reach = max(major, minor) + 1
    left, right = min(cx - reach, box[0]), max(cx + reach, box[0] + box[2])
    top, bottom = min(cy - reach, box[1]), max(cy + reach, box[1] + box[3])
    x, y = np.meshgrid(np.arange(left, right, step) + step / 2, np.arange(top, bottom, step) + step / 2)
    along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    across = -(x - cx) * np.sin(angle) + (y - cy) * np.cos(angle)
    in_face = (along / major) ** 2 + (across / minor) ** 2 <= 1
    in_box = (x >= box[0]) & (x <= box[0] + box[2]) & (y >= box[1]) & (y <= box[1] + box[3])
    if image_hw:
        visible = (x >= 0) & (x <= image_hw[1]) & (y >= 0) & (y <= image_hw[0])
        in_face, in_box = in_face & visible, in_box & visible
    union = (in_face | in_box).sum()
    return (in_face & in_box).sum() / union if union else 0.0


@pytest.mark.parametrize(
    ("face", "box", "expected"),
    [
        (ellipse(), [0, 0, 20, 20], np.pi / 4),  # A circle and its bounding box.
        (ellipse(), [0, 0, 10, 20], np.pi * 50 / (200 + np.pi * 50)),  # Half of it.
        (ellipse(), [10, 10, 50, 50], np.pi * 25 / (2500 + np.pi * 75)),  # A quarter.
        (ellipse(), [8, 8, 4, 4], 16 / (np.pi * 100)),  # A box inside the circle.
        (ellipse(20, 10, 0, 50, 50), [30, 40, 40, 20], np.pi / 4),
        (ellipse(20, 10, np.pi / 2, 50, 50), [40, 30, 20, 40], np.pi / 4),  # The major axis is upright.
        (ellipse(10, 10, 0.3, 1.4e-187, 0), [0, 0, 1, 1], 1 / (np.pi * 100)),  # Its corner is nearly the center.
        (ellipse(), [100, 100, 5, 5], 0.0),
        (ellipse(), [20, 0, 5, 20], 0.0),  # It touches the circle.
        (ellipse(), [5, 5, 0, 5], 0.0),
        (ellipse(), [5, 5, -3, 5], 0.0),
        (ellipse(), [-1e200, -1e200, 2e200, 2e200], 0.0),
    ],
)
def test_known_areas(face, box, expected):
    assert overlaps(face, np.array([box], np.float64))[0, 0] == pytest.approx(expected, abs=1e-9)


def test_angle_turns_from_x_to_y_which_points_down():
    face = ellipse(20, 4, np.pi / 4, 50, 50)
    below_right, above_right = [[54.0, 54.0, 8.0, 8.0]], [[54.0, 38.0, 8.0, 8.0]]
    assert areas_inside(face, np.array([[54.0, 54.0, 62.0, 62.0]])) > 30
    assert overlaps(face, np.array(below_right))[0, 0] > 0.1
    assert overlaps(face, np.array(above_right))[0, 0] == 0


COORDINATE = st.floats(-30, 60, allow_nan=False)
FACE = st.tuples(st.floats(2, 25), st.floats(2, 25), st.floats(-4, 4), COORDINATE, COORDINATE)
BOX = st.tuples(COORDINATE, COORDINATE, st.floats(1, 40), st.floats(1, 40))


@settings(max_examples=60, deadline=None)
@given(FACE, BOX, st.sampled_from([None, (20, 30), (50, 45)]))
def test_equals_a_count_of_fine_pixels(face, box, image_hw):
    exact = overlaps(np.array([face]), np.array([box]), image_hw)[0, 0]
    assert exact == pytest.approx(counted_iou(face, box, image_hw), abs=0.02)


@pytest.mark.parametrize("angle", [0.3, 1.2, -0.7])
def test_error_falls_with_the_pixels_it_is_compared_with(angle):
    face, box = (17.3, 9.1, angle, 31.4, 27.2), (20.5, 18.25, 21.75, 16.5)
    exact = overlaps(np.array([face]), np.array([box]))[0, 0]
    assert exact == pytest.approx(counted_iou(face, box, step=0.01), abs=1e-4)


@settings(max_examples=100, deadline=None)
@given(FACE, BOX, COORDINATE, COORDINATE, st.floats(0.2, 50))
def test_place_and_size_do_not_matter_nor_half_a_turn(face, box, dx, dy, scale):
    major, minor, angle, cx, cy = face
    moved = ((cx + dx) * scale, (cy + dy) * scale)
    expected = overlaps(np.array([face]), np.array([box]))
    there = np.array([[(box[0] + dx) * scale, (box[1] + dy) * scale, box[2] * scale, box[3] * scale]])
    for same in (
        [major * scale, minor * scale, angle, *moved],
        [major * scale, minor * scale, angle + np.pi, *moved],
        [minor * scale, major * scale, angle + np.pi / 2, *moved],
    ):
        assert overlaps(np.array([same]), there) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(FACE, BOX, st.floats(0, 1))
def test_parts_of_a_box_add_up(face, box, share):
    x, y, w, h = box
    middle = x + share * w
    parts = np.array([[x, y, middle, y + h], [middle, y, x + w, y + h], [x, y, x + w, y + h], [-99, -99, 99, 99]])
    one, other, whole, everything = areas_inside(np.array([face]), parts)[0]
    assert one + other == pytest.approx(whole, abs=1e-9 * face[0] * face[1] + 1e-9)
    assert everything == pytest.approx(np.pi * face[0] * face[1])


def test_face_cut_by_the_border_counts_as_far_as_it_is_seen():
    """Half of a circle is outside, and so is half of the box."""
    face, box = ellipse(10, 10, 0, 0, 20), np.array([[-10.0, 10.0, 20.0, 20.0]])
    seen, cut = overlaps(face, np.array([[0.0, 10.0, 10.0, 20.0]]), (40, 40)), overlaps(face, box, (40, 40))
    assert cut == seen == pytest.approx(np.pi / 4)
    assert overlaps(ellipse(x=-50), box, (40, 40))[0, 0] == 0, "a face out of sight"


def test_shapes():
    assert overlaps(np.empty((0, 5)), SQUARE).shape == (0, 1)
    assert overlaps(ellipse(), np.empty((0, 4))).shape == (1, 0)
    assert overlaps(np.repeat(ellipse(), 3, axis=0), np.repeat(SQUARE, 2, axis=0)).shape == (3, 2)
