"""Which faces are kept, and how boxes grow and are cut, against loops in plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.core.detections import Detections
from facedeploy.detect.selection import Selection


@st.composite
def faces(draw):
    """Up to six boxes in and around an image of 100x80 (width x height), on a grid on which float32 is exact."""
    grid = st.integers(-80, 480).map(lambda quarter: quarter / 4)
    side = st.integers(0, 200).map(lambda quarter: quarter / 4)
    corners = draw(st.lists(st.tuples(grid, grid, side, side), max_size=6))
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in corners], np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.5, len(boxes), dtype=np.float32)
    return Detections(boxes, scores, np.arange(len(boxes) * 10, dtype=np.float32).reshape(-1, 5, 2))


sizes = st.none() | st.integers(0, 60)


@settings(deadline=None)
@given(faces(), sizes, sizes, st.booleans(), st.sampled_from([0.0, 0.25, 1.0]), st.booleans())
def test_selection_is_the_loop_in_plain_python(detections, min_size, max_size, biggest_face, margin, clip_boxes):
    if min_size is not None and max_size is not None and min_size > max_size:
        min_size, max_size = max_size, min_size
    rows = []
    for box, score, landmarks in zip(detections.boxes, detections.scores, detections.landmarks, strict=True):
        x1, y1, x2, y2 = map(float, box)
        width, height = x2 - x1, y2 - y1
        if min_size is not None and min(width, height) < min_size:
            continue
        if max_size is not None and max(width, height) > max_size:
            continue
        grown = [x1 - margin * width, y1 - margin * height, x2 + margin * width, y2 + margin * height]
        if clip_boxes:
            grown = [min(max(value, 0), limit) for value, limit in zip(grown, (100, 80, 100, 80), strict=True)]
        rows.append((width * height, grown, score, landmarks))
    if biggest_face and rows:
        rows = [max(rows, key=lambda row: row[0])]  # Of equal ones the first.
    selection = Selection(min_size, max_size, biggest_face, margin, clip_boxes)
    selected = selection.of(detections, (80, 100))
    assert selected.boxes.tolist() == [row[1] for row in rows]
    assert selected.scores.tolist() == [row[2] for row in rows]
    assert selected.landmarks.tolist() == [row[3].tolist() for row in rows]
    assert selected.boxes.dtype == np.float32


def test_default_selection_is_everything_to_the_bit():
    random = np.random.default_rng(0)
    boxes = random.normal(size=(9, 4)).astype(np.float32)
    detections = Detections(boxes, np.sort(random.random(9, np.float32))[::-1], np.zeros((9, 5, 2), np.float32))
    selected = Selection().of(detections, (5, 5))
    np.testing.assert_array_equal(selected.boxes, boxes)
    np.testing.assert_array_equal(selected.scores, detections.scores)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_size": -1}, "min_size: got -1, expected a number from 0"),
        ({"max_size": "big"}, "max_size: got 'big', expected a number from 0"),
        ({"margin": None}, "margin: got None, expected a number from 0"),
        ({"margin": float("nan")}, "margin: got nan, expected a number from 0"),
        ({"margin": float("inf")}, "margin: got inf, expected a number from 0"),
        ({"min_size": 9, "max_size": 3}, "min_size 9 is above max_size 3: no face is left"),
    ],
)
def test_impossible_selection_is_one_sentence(options, said):
    with pytest.raises(ValueError) as error:
        Selection(**options)
    assert str(error.value) == said
