"""Slots against plain loops over Python floats, written from the definition."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.core.letterbox import Letterbox
from facedeploy.core.nms_params import CANDIDATES, NmsParams
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.detect.slots import Slots, detections_of, empty_slots, head_slots

SPEC = PriorSpec()
CANVAS_HW = (40, 56)
COUNT = SPEC.count(CANVAS_HW)


def decoded(loc: np.ndarray, landms: np.ndarray, index: int) -> tuple[list[float], list[float]]:
    """Box and landmarks, px, of the prior with this index."""
    height, width = CANVAS_HW
    for stride, sizes in zip(SPEC.strides, SPEC.min_sizes, strict=True):
        columns, rows = math.ceil(width / stride), math.ceil(height / stride)
        if index < rows * columns * len(sizes):
            cell, which = divmod(index, len(sizes))
            row, column = divmod(cell, columns)
            break
        index -= rows * columns * len(sizes)
    side = sizes[which]
    cx, cy = (column + 0.5) * stride, (row + 0.5) * stride
    x, y = cx + loc[0] * 0.1 * side, cy + loc[1] * 0.1 * side
    w, h = side * math.exp(loc[2] * 0.2), side * math.exp(loc[3] * 0.2)
    points = [(cx if place % 2 == 0 else cy) + value * 0.1 * side for place, value in enumerate(landms)]
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2], points


def overlap(a: list[float], b: list[float]) -> float:
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0]) + 1) * max(0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return shared / (sum(areas) - shared)


def faces_by_loops(
    loc: np.ndarray, conf: np.ndarray, landms: np.ndarray, params: NmsParams
) -> tuple[list[tuple[float, list[float], list[float]]], float]:
    """Faces of one image, and how near an IoU came to the threshold."""
    scored = [(-float(score), index) for index, (_, score) in enumerate(conf) if score > params.confidence_threshold]
    kept: list[tuple[float, list[float], list[float]]] = []
    nearest = 1.0
    for negative, index in sorted(scored):
        box, points = decoded(loc[index], landms[index], index)
        overlaps = [overlap(box, other) for _, other, _ in kept]
        nearest = min([nearest, *(abs(each - params.nms_threshold) for each in overlaps)])
        if all(each <= params.nms_threshold for each in overlaps) and len(kept) < params.max_detections:
            kept.append((-negative, box, points))
    return kept, nearest


def heads(seed: int, batch: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    # Scores in steps of an eighth: many are equal.
    scores = np.round(rng.random((batch, COUNT), np.float32) * 8) / 8
    conf = np.stack([1 - scores, scores], axis=2)
    return (
        rng.normal(0, 1, (batch, COUNT, 4)).astype(np.float32),
        conf,
        rng.normal(0, 1, (batch, COUNT, 10)).astype(np.float32),
    )


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.3, 0.5, 0.875, 1.0]),
    st.floats(0.05, 0.9),
    st.integers(1, 100),
)
def test_slots_equal_plain_loops(seed: int, confidence: float, nms_threshold: float, limit: int) -> None:
    loc, conf, landms = heads(seed, batch=2)
    params = NmsParams(confidence, nms_threshold, limit)
    slots = head_slots(loc, conf, landms, SPEC, CANVAS_HW, params)
    assert [part.shape for part in slots] == [(2, limit, 1), (2, limit, 4), (2, limit, 10)]
    assert all(part.dtype == np.float32 for part in slots)
    for image in range(2):
        faces, nearest = faces_by_loops(loc[image], conf[image], landms[image], params)
        if nearest < 1e-5:  # Float32 may round such an IoU to the other side.
            continue
        count = len(faces)
        assert slots.scores[image, :count, 0].tolist() == [score for score, _, _ in faces]
        np.testing.assert_allclose(
            slots.boxes[image, :count], np.reshape([box for _, box, _ in faces], (-1, 4)), rtol=1e-5, atol=1e-3
        )
        np.testing.assert_allclose(
            slots.landmarks[image, :count], np.reshape([points for *_, points in faces], (-1, 10)), rtol=1e-5, atol=1e-3
        )
        assert all((part[image, count:] == -1).all() for part in slots)


def test_score_equal_to_the_threshold_is_dropped() -> None:
    loc, conf, landms = heads(0)
    conf[...] = 0
    conf[0, 3, 1], conf[0, 90, 1] = 0.5, np.nextafter(np.float32(0.5), np.float32(1))
    slots = head_slots(loc, conf, landms, SPEC, CANVAS_HW, NmsParams(0.5, 0.4, 5))
    assert slots.scores[0, :, 0].tolist() == [conf[0, 90, 1], -1, -1, -1, -1]


def test_equal_scores_come_in_the_order_of_priors() -> None:
    conf = np.ones((1, COUNT, 2), np.float32)
    loc, landms = np.zeros((1, COUNT, 4), np.float32), np.zeros((1, COUNT, 10), np.float32)
    slots = head_slots(loc, conf, landms, SPEC, CANVAS_HW, NmsParams(0.5, 1.0, COUNT + 1))
    centers = [(slots.boxes[0, slot, 0] + slots.boxes[0, slot, 2]) / 2 for slot in range(0, 14, 2)]
    np.testing.assert_allclose(centers, np.arange(7) * 8 + 4, atol=1e-4)
    assert (slots.scores[0, :, 0] != -1).sum() == COUNT


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("head", ["loc", "conf", "landms"])
def test_candidate_that_is_no_number_is_dropped_and_suppresses_nothing(head: str, value: float) -> None:
    arrays = dict(zip(("loc", "conf", "landms"), (array.copy() for array in heads(0)), strict=True))
    for array in arrays.values():
        array[...] = 0
    arrays["conf"][0, :2, 1] = 0.9, 0.8  # Two priors of one cell.
    arrays["loc"][0, 1, 2:] = np.log(0.5) / 0.2  # Made the same box.
    params = NmsParams(0.5, 0.4, 3)
    both = head_slots(*arrays.values(), SPEC, CANVAS_HW, params)
    assert both.scores[0, :, 0].tolist() == [np.float32(0.9), -1, -1]
    arrays[head][0, 0, 1] = value
    one = head_slots(*arrays.values(), SPEC, CANVAS_HW, params)
    assert one.scores[0, :, 0].tolist() == [np.float32(0.8), -1, -1]


def test_candidates_are_the_best_five_thousand() -> None:
    canvas_hw = (384, 384)
    count = SPEC.count(canvas_hw)
    assert count > CANDIDATES
    conf = np.zeros((1, count, 2), np.float32)
    conf[0, :, 1] = np.linspace(0.1, 0.9, count)
    loc = np.zeros((1, count, 4), np.float32)
    loc[0, -CANDIDATES:, 2] = np.inf  # The best 5,000 are no boxes, and no worse one may take their place.
    landms = np.zeros((1, count, 10), np.float32)
    slots = head_slots(loc, conf, landms, SPEC, canvas_hw, NmsParams(0.02, 0.4, 10))
    assert (slots.scores == -1).all()
    loc[0, -CANDIDATES, 2] = 0
    slots = head_slots(loc, conf, landms, SPEC, canvas_hw, NmsParams(0.02, 0.4, 10))
    assert slots.scores[0, :2, 0].tolist() == [conf[0, -CANDIDATES, 1], -1]


def test_detections_are_the_filled_slots_in_source_pixels() -> None:
    slots = empty_slots(2, 3)
    slots.scores[1, :2, 0] = 0.9, 0.4
    slots.boxes[1, :2] = [[10, 20, 30, 40], [0, 10, 64, 42]]
    slots.landmarks[1, :2] = np.arange(20).reshape(2, 10)
    box = Letterbox.fit((100, 200), (64, 64))  # Content 32x64 at y 16; one canvas px is 3.125 source px.
    found = detections_of(slots, box, image=1)
    assert found.scores.tolist() == [np.float32(0.9), np.float32(0.4)]
    np.testing.assert_allclose(found.boxes, [[31.25, 12.5, 93.75, 75], [0, -18.75, 200, 81.25]])
    np.testing.assert_allclose(found.landmarks[0, :2], [[0, -46.875], [6.25, -40.625]])
    assert found.landmarks.shape == (2, 5, 2)
    assert len(detections_of(slots, box, image=0)) == 0


def test_detections_do_not_change_with_the_slots_they_came_from() -> None:
    slots = Slots(*(part + 1.5 for part in empty_slots(1, 1)))
    found = detections_of(slots, Letterbox.fit((10, 10), (10, 10)))
    for part in slots:
        part[...] = 7
    assert found.scores.tolist() == [0.5]
    assert found.boxes.tolist() == [[0.5, 0.5, 0.5, 0.5]]


def test_slots_with_gaps_give_what_is_filled() -> None:
    """As a file of somebody else may have them."""
    slots = empty_slots(1, 4)
    slots.scores[0, 1::2, 0] = 0.5, 0.75
    slots.boxes[0, 1::2] = [[1, 2, 3, 4], [5, 6, 7, 8]]
    found = detections_of(slots, Letterbox.fit((10, 10), (10, 10)))
    assert found.scores.tolist() == [0.5, 0.75]
    assert found.boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert found.boxes.flags.c_contiguous
    assert found.landmarks.flags.c_contiguous
