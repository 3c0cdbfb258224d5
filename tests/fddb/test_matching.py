"""The matches at every threshold, and the curve, against all assignments tried one by one."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.fddb.evaluate import roc
from facedeploy.fddb.matching import match

pytest.importorskip("scipy", reason="matching needs scipy (extra eval)")

IOU = st.one_of(st.just(0.0), st.floats(0.01, 1))
SCORE = st.sampled_from([0.1, 0.2, 0.5, 0.9, 1.5])


@st.composite
def images(draw):
    """IoUs of up to four faces and four boxes, and the boxes' scores."""
    faces, boxes = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    table = draw(st.lists(IOU, min_size=faces * boxes, max_size=faces * boxes))
    return np.reshape(table, (faces, boxes)), np.array(draw(st.lists(SCORE, min_size=boxes, max_size=boxes)), float)


def best_matches(overlaps):
    """The IoUs of the assignment with the largest sum, of all there are."""
    table = overlaps if len(overlaps) <= overlaps.shape[1] else overlaps.T
    columns = permutations(range(table.shape[1]), len(table))
    return max(([table[row, column] for row, column in enumerate(each)] for each in columns), key=sum)


@settings(max_examples=200, deadline=None)
@given(images())
def test_each_threshold_has_the_best_assignment_of_its_boxes(image):
    overlaps, scores = image
    steps = match(overlaps, scores)
    assert list(steps.scores) == sorted(set(scores), reverse=True)
    for index, threshold in enumerate(steps.scores):
        matches = best_matches(overlaps[:, scores >= threshold])
        assert steps.continuous[: index + 1].sum() == pytest.approx(sum(matches))
        assert steps.boxes[: index + 1].sum() == (scores >= threshold).sum()
        touched = overlaps[:, scores >= threshold]
        if len(set(touched.ravel()) - {0.0}) == np.count_nonzero(touched):  # Else another assignment may be as good.
            assert steps.found[: index + 1].sum() == sum(iou > 0.5 for iou in matches)


@settings(max_examples=100, deadline=None)
@given(st.lists(images(), min_size=1, max_size=4))
def test_curve_counts_every_image_at_its_threshold(all_images):
    steps = [match(*image) for image in all_images]
    curve = roc(steps, 7)
    scores = np.concatenate([image[1] for image in all_images])
    assert list(curve.thresholds) == sorted(set(scores), reverse=True)
    for index, threshold in enumerate(curve.thresholds):
        found = continuous = 0.0
        for each in steps:
            found += each.found[each.scores >= threshold].sum()
            continuous += each.continuous[each.scores >= threshold].sum()
        assert curve.discrete[index] == pytest.approx(found / 7)
        assert curve.continuous[index] == pytest.approx(continuous / 7)
        assert curve.false_positives[index] == (scores >= threshold).sum() - round(found)


def test_one_box_finds_one_face_and_the_sum_decides():
    # The first box overlaps both faces; alone it takes the better, and gives way when the second box comes.
    overlaps, scores = np.array([[0.6, 0.7], [0.55, 0.0]]), np.array([0.9, 0.8])
    steps = match(overlaps, scores)
    assert list(steps.found) == [1, 1]
    assert list(np.cumsum(steps.continuous)) == pytest.approx([0.6, 1.25])


def test_iou_of_one_half_is_not_enough():
    assert list(match(np.array([[0.5]]), np.array([0.9])).found) == [0]
    assert list(match(np.array([[0.5000001]]), np.array([0.9])).found) == [1]


def test_rate_is_the_best_with_no_more_false_positives():
    steps = [match(np.array([[0.0, 0.8, 0.0, 0.0]]), np.array([0.9, 0.8, 0.7, 0.6]))]
    curve = roc(steps, 1)
    assert list(curve.false_positives) == [1, 1, 2, 3]
    assert [curve.at(count)[0] for count in (0, 1, 2, 100)] == [0, 1, 1, 1]
    assert roc([], 3).at(100) == (0, 0)
