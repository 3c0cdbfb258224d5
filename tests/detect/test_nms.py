import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from facedeploy.detect.nms import iou_with_rest, nms

# Whole pixels, so that areas and overlaps are exact, and an IoU is one rounded division.
CORNER, SIDE = st.integers(0, 40), st.integers(0, 40)
BOXES = st.lists(st.tuples(CORNER, CORNER, SIDE, SIDE), max_size=30).map(
    lambda boxes: np.array([(x, y, x + w, y + h) for x, y, w, h in boxes], np.float32).reshape(-1, 4)
)


def iou_by_pixels(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two boxes of whole pixels, both corners included, by counting pixels."""
    pixels = [
        {(x, y) for x in range(int(box[0]), int(box[2]) + 1) for y in range(int(box[1]), int(box[3]) + 1)}
        for box in (a, b)
    ]
    return len(pixels[0] & pixels[1]) / len(pixels[0] | pixels[1])


def nms_by_loops(boxes: np.ndarray, threshold: float, limit: int) -> list[int]:
    kept: list[int] = []
    for index, box in enumerate(boxes):
        if len(kept) < limit and not any(iou(boxes[other], box) > np.float32(threshold) for other in kept):
            kept.append(index)
    return kept


def iou(a: np.ndarray, b: np.ndarray) -> np.float32:
    overlap_w = max(0, int(min(a[2], b[2])) - int(max(a[0], b[0])) + 1)
    overlap_h = max(0, int(min(a[3], b[3])) - int(max(a[1], b[1])) + 1)
    areas = [(int(box[2] - box[0]) + 1) * (int(box[3] - box[1]) + 1) for box in (a, b)]
    return np.float32(overlap_w * overlap_h) / np.float32(sum(areas) - overlap_w * overlap_h)


@settings(deadline=None)
@given(BOXES)
def test_iou_counts_pixels_with_both_edges(boxes: np.ndarray) -> None:
    assume(len(boxes))
    expected = [iou_by_pixels(boxes[0], other) for other in boxes]
    np.testing.assert_allclose(iou_with_rest(boxes[0], boxes), expected, rtol=1e-6)


@settings(deadline=None, max_examples=150)
@given(BOXES, st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.5, 0.9, 1.0]), st.integers(1, 40))
def test_nms_equals_plain_loops(boxes: np.ndarray, threshold: float, limit: int) -> None:
    assert nms(boxes, threshold, limit).tolist() == nms_by_loops(boxes, threshold, limit)


@settings(deadline=None)
@given(BOXES, st.floats(0, 1), st.integers(1, 40))
def test_kept_boxes_do_not_overlap_and_each_other_one_overlaps_a_better_kept_one(
    boxes: np.ndarray, threshold: float, limit: int
) -> None:
    kept = nms(boxes, threshold, len(boxes) + 1)
    for place, index in enumerate(kept):
        assert not (iou_with_rest(boxes[index], boxes[kept[place + 1 :]]) > np.float32(threshold)).any()
    for index in set(range(len(boxes))) - set(kept.tolist()):
        assert (iou_with_rest(boxes[index], boxes[kept[kept < index]]) > np.float32(threshold)).any()
    assert nms(boxes, threshold, limit).tolist() == kept[:limit].tolist()


def test_iou_equal_to_the_threshold_is_kept() -> None:
    boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 4]], np.float32)  # 50 of 100 pixels.
    assert nms(boxes, 0.5, 10).tolist() == [0, 1]
    assert nms(boxes, float(np.nextafter(np.float32(0.5), np.float32(0))), 10).tolist() == [0]


@pytest.mark.parametrize(("gap", "kept"), [(0, [0]), (1, [0, 1])])
def test_boxes_that_share_an_edge_overlap_since_sides_count_plus_one(gap: int, kept: list[int]) -> None:
    boxes = np.array([[0, 0, 9, 9], [9 + gap, 0, 20, 9]], np.float32)
    assert nms(boxes, 0.0, 10).tolist() == kept


def test_no_box_gives_no_index() -> None:
    assert nms(np.empty((0, 4), np.float32), 0.4, 10).tolist() == []
