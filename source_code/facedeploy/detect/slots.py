"""Head outputs -> a fixed number of slots, the form in which detections leave an artifact; and slots -> Detections."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facedeploy.core.anchor_spec import AnchorSpec
from facedeploy.core.detections import Detections
from facedeploy.core.head_spec import HeadSpec
from facedeploy.core.letterbox import Letterbox
from facedeploy.core.nms_params import CANDIDATES, NmsParams
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.core.receptive_field_spec import ReceptiveFieldSpec
from facedeploy.detect.decode import (
    decode_anchor_boxes,
    decode_anchor_landmarks,
    decode_boxes,
    decode_landmarks,
    decode_receptive_fields,
)
from facedeploy.detect.nms import covered_of_rest, iou_with_rest, nms
from facedeploy.detect.priors import anchors_of, priors_of, receptive_fields_of

FloatArray = npt.NDArray[np.float32]
EMPTY = np.float32(-1)


class Slots(NamedTuple):
    """Best first, in canvas px; an empty slot is -1 everywhere. N images, K slots.

    scores (N, K, 1), boxes (N, K, 4) xyxy, landmarks (N, K, 10), or (N, K, 0) of a head without.
    """

    scores: FloatArray
    boxes: FloatArray
    landmarks: FloatArray


def empty_slots(batch: int, count: int, points: int = 5) -> Slots:
    """Slots with nothing in them, for so many landmarks."""
    return Slots(*(np.full((batch, count, width), EMPTY, np.float32) for width in (1, 4, 2 * points)))


def head_slots(
    loc: FloatArray,
    conf: FloatArray,
    landms: FloatArray | None,
    spec: HeadSpec,
    canvas_hw: tuple[int, int],
    params: NmsParams,
) -> Slots:
    """Decode, threshold and suppress.

    loc (N, P, 4), conf (N, P, C) probabilities of which the last one is a face's, landms (N, P, 10) or None for a head
    without. Candidates are the best 5,000 whose finite score exceeds the threshold; of equal scores the lower prior
    index comes first. A candidate whose box or landmarks are not finite is dropped.
    """
    landms = loc[..., :0] if landms is None else landms
    decode = _decoder(spec, canvas_hw)
    overlap = covered_of_rest if isinstance(spec, ReceptiveFieldSpec) else iou_with_rest
    slots = empty_slots(len(loc), params.max_detections, landms.shape[2] // 2)
    for image in range(len(loc)):
        scores = conf[image, :, -1]
        above = np.flatnonzero((scores > np.float32(params.confidence_threshold)) & np.isfinite(scores))
        order = above[np.argsort(-scores[above], kind="stable")][:CANDIDATES]
        boxes, landmarks = decode(order, loc[image, order], landms[image, order])
        finite = np.isfinite(boxes).all(1) & np.isfinite(landmarks).all(1)
        order, boxes, landmarks = order[finite], boxes[finite], landmarks[finite]
        kept = nms(boxes, params.nms_threshold, params.max_detections, overlap)
        slots.scores[image, : len(kept), 0] = scores[order[kept]]
        slots.boxes[image, : len(kept)] = boxes[kept]
        slots.landmarks[image, : len(kept)] = landmarks[kept]
    return slots


def _decoder(
    spec: HeadSpec, canvas_hw: tuple[int, int]
) -> Callable[[npt.NDArray[np.intp], FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
    """Indices of priors, their loc and landms -> boxes xyxy and landmarks, px of the canvas."""
    match spec:
        case PriorSpec(variances=variances):
            priors = priors_of(spec, canvas_hw)
            wh = np.array([canvas_hw[1], canvas_hw[0]], np.float32)

            def decode(index: Any, loc: FloatArray, landms: FloatArray) -> tuple[FloatArray, FloatArray]:
                with np.errstate(over="ignore", invalid="ignore"):
                    return (
                        decode_boxes(loc, priors[index], variances) * np.tile(wh, 2),
                        decode_landmarks(landms, priors[index], variances) * np.tile(wh, landms.shape[1] // 2),
                    )

        case AnchorSpec():
            anchors = anchors_of(spec, canvas_hw)

            def decode(index: Any, loc: FloatArray, landms: FloatArray) -> tuple[FloatArray, FloatArray]:
                return decode_anchor_boxes(loc, anchors[index]), decode_anchor_landmarks(landms, anchors[index])

        case ReceptiveFieldSpec():
            fields = receptive_fields_of(spec, canvas_hw)

            def decode(index: Any, loc: FloatArray, landms: FloatArray) -> tuple[FloatArray, FloatArray]:
                return decode_receptive_fields(loc, fields[index], canvas_hw), landms

    return decode


def detections_of(slots: Slots, letterbox: Letterbox, image: int = 0) -> Detections:
    """The filled slots of one image of the batch, in px of its source."""
    scores = slots.scores[image, :, 0]
    filled = scores != EMPTY
    flags = filled.tobytes()  # Bytes, since each function of numpy takes microseconds.
    count = flags.count(True)
    # As a rule they come first, and a part is quicker to take than a choice.
    kept = slice(count) if flags.find(False, 0, count) < 0 else filled
    boxes, landmarks = (letterbox.to_source(part[image, kept]) for part in (slots.boxes, slots.landmarks))
    return Detections(boxes, scores[kept].copy(), landmarks.reshape(len(boxes), landmarks.shape[1] // 2, 2))
