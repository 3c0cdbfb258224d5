"""Anchors and receptive fields against plain loops over Python floats, written from their papers' code."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from facedeploy.core.anchor_spec import AnchorSpec
from facedeploy.core.nms_params import NmsParams
from facedeploy.core.receptive_field_spec import ReceptiveFieldSpec
from facedeploy.detect.priors import anchors_of, receptive_fields_of
from facedeploy.detect.slots import head_slots

CANVAS_HW = (40, 72)
ANCHORS = AnchorSpec()
FIELDS = ReceptiveFieldSpec((15, 20, 40), (4, 4, 8), (3, 3, 7), skip_scales=(1,))
MARGIN = 1e-4

Box = list[float]


def anchor_boxes() -> list[Box]:
    """x1 y1 x2 y2 of every anchor: the base box 0 0 15 15 scaled about its center, moved along the grid."""
    boxes = []
    for stride, scales in ((32, (32, 16)), (16, (8, 4)), (8, (2, 1))):
        for row in range(math.ceil(40 / stride)):
            for column in range(math.ceil(72 / stride)):
                for scale in scales:
                    half = (16 * scale - 1) / 2
                    x, y = 7.5 + stride * column, 7.5 + stride * row
                    boxes.append([x - half, y - half, x + half, y + half])
    return boxes


def decoded_anchor(anchor: Box, delta: np.ndarray) -> Box:
    width, height = anchor[2] - anchor[0] + 1, anchor[3] - anchor[1] + 1
    x = delta[0] * width + anchor[0] + 0.5 * (width - 1)
    y = delta[1] * height + anchor[1] + 0.5 * (height - 1)
    w, h = math.exp(delta[2]) * width, math.exp(delta[3]) * height
    return [x - 0.5 * (w - 1), y - 0.5 * (h - 1), x + 0.5 * (w - 1), y + 0.5 * (h - 1)]


def decoded_fields(loc: np.ndarray) -> list[Box]:
    """Scales 0 and 2, on 9 x 17 and 4 x 8 cells."""
    boxes = []
    for half, stride, start, rows, columns in ((7.5, 4, 3, 9, 17), (20.0, 8, 7, 4, 8)):
        for row in range(rows):
            for column in range(columns):
                x, y = start + stride * column, start + stride * row
                b = loc[len(boxes)]
                boxes.append(
                    [
                        max(0, x - b[0] * half),
                        max(0, y - b[1] * half),
                        min(72, x - b[2] * half),
                        min(40, y - b[3] * half),
                    ]
                )
    return boxes


def shared(a: Box, b: Box) -> float:
    return max(0, min(a[2], b[2]) - max(a[0], b[0]) + 1) * max(0, min(a[3], b[3]) - max(a[1], b[1]) + 1)


def iou(better: Box, box: Box) -> float:
    areas = [(each[2] - each[0] + 1) * (each[3] - each[1] + 1) for each in (better, box)]
    return shared(better, box) / (sum(areas) - shared(better, box))


def covered(better: Box, box: Box) -> float:
    """LFFD divides by the area of the box that may go, without +1."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return shared(better, box) / area if area else math.inf * shared(better, box)


def kept_by_loops(boxes: list[Box], scores: np.ndarray, params: NmsParams, overlap) -> list[int]:
    """Indices, best first; the example is left out where rounding may decide."""
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda each: (-float(scores[each]), each)):
        if scores[index] <= np.float32(params.confidence_threshold):
            continue
        overlaps = [overlap(boxes[other], boxes[index]) for other in kept]
        assume(all(abs(each - params.nms_threshold) > MARGIN * max(1, each) for each in overlaps))
        if all(each <= params.nms_threshold for each in overlaps):
            kept.append(index)
    return kept


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 0.9), st.floats(0.1, 0.7))
def test_anchors_equal_plain_loops(seed: int, confidence: float, nms_threshold: float) -> None:
    rng = np.random.default_rng(seed)
    anchors = anchor_boxes()
    loc = rng.normal(0, 0.5, (1, len(anchors), 4)).astype(np.float32)
    conf = rng.random((1, len(anchors), 1), np.float32) ** 4
    landms = rng.normal(0, 1, (1, len(anchors), 10)).astype(np.float32)
    params = NmsParams(confidence, nms_threshold, 200)
    slots = head_slots(loc, conf, landms, ANCHORS, CANVAS_HW, params)
    boxes = [decoded_anchor(anchor, delta) for anchor, delta in zip(anchors, loc[0].astype(float), strict=True)]
    kept = kept_by_loops(boxes, conf[0, :, 0], params, iou)
    np.testing.assert_array_equal(slots.scores[0, : len(kept), 0], conf[0, kept, 0])
    assert (slots.scores[0, len(kept) :] == -1).all()
    np.testing.assert_allclose(slots.boxes[0, : len(kept)], np.array(boxes)[kept].reshape(-1, 4), rtol=1e-4, atol=1e-2)
    for slot, index in enumerate(kept):
        side = anchors[index][2] - anchors[index][0] + 1
        center = anchors[index][0] + 0.5 * (side - 1), anchors[index][1] + 0.5 * (side - 1)
        points = [landms[0, index, k] * side + center[k % 2] for k in range(10)]
        np.testing.assert_allclose(slots.landmarks[0, slot], points, rtol=1e-4, atol=1e-2)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 0.9), st.floats(0.1, 0.9))
def test_receptive_fields_equal_plain_loops(seed: int, confidence: float, nms_threshold: float) -> None:
    rng = np.random.default_rng(seed)
    count = 9 * 17 + 4 * 8
    loc = rng.normal([1, 1, -1, -1], 0.3, (1, count, 4)).astype(np.float32)
    conf = rng.random((1, count, 1), np.float32) ** 4
    params = NmsParams(confidence, nms_threshold, 200)
    slots = head_slots(loc, conf, None, FIELDS, CANVAS_HW, params)
    boxes = decoded_fields(loc[0].astype(float))
    assert len(boxes) == FIELDS.count(CANVAS_HW) == count
    kept = kept_by_loops(boxes, conf[0, :, 0], params, covered)
    np.testing.assert_array_equal(slots.scores[0, : len(kept), 0], conf[0, kept, 0])
    assert (slots.scores[0, len(kept) :] == -1).all()
    np.testing.assert_allclose(slots.boxes[0, : len(kept)], np.array(boxes)[kept].reshape(-1, 4), rtol=1e-4, atol=1e-2)
    assert slots.landmarks.shape == (1, 200, 0)


def test_priors_of_known_nets_at_640() -> None:
    anchors = anchors_of(ANCHORS, (640, 640))
    assert anchors.shape == (2 * (20 * 20 + 40 * 40 + 80 * 80), 4)
    assert anchors[:3].tolist() == [[7.5, 7.5, 512, 512], [7.5, 7.5, 256, 256], [39.5, 7.5, 512, 512]]
    fields = receptive_fields_of(ReceptiveFieldSpec(), (640, 640))
    assert fields.shape == (2 * 159**2 + 2 * 79**2 + 39**2 + 3 * 19**2, 3)
    assert fields[:2].tolist() == [[3, 3, 7.5], [7, 3, 7.5]]
    assert ReceptiveFieldSpec().count((1, 1)) == 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AnchorSpec(((1,),), (8, 16)), "scales has 1 levels, strides 2: they must agree"),
        (lambda: AnchorSpec((), ()), "strides: got an empty list"),
        (lambda: AnchorSpec(((1,), ()), (8, 16)), "scales: got an empty list"),
        (lambda: ReceptiveFieldSpec((15,), (4,), ()), "starts has 0 levels, strides 1"),
        (lambda: ReceptiveFieldSpec(skip_scales=(8,)), "skip_scales: got 8, expected numbers from 0 to 7"),
        (lambda: ReceptiveFieldSpec((15,), (4,), (3,), (0,)), "skip_scales: got all scales"),
    ],
)
def test_levels_that_cannot_be_are_refused(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
