"""Head outputs -> a fixed number of slots, the form in which detections leave an artifact; and slots -> Detections."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facedeploy.core.detections import Detections
from facedeploy.core.letterbox import Letterbox
from facedeploy.core.nms_params import CANDIDATES, NmsParams
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.detect.decode import decode_boxes, decode_landmarks
from facedeploy.detect.nms import nms
from facedeploy.detect.priors import priors_of

FloatArray = npt.NDArray[np.float32]
EMPTY = np.float32(-1)


class Slots(NamedTuple):
    """Best first, in canvas px; an empty slot is -1 everywhere. N images, K slots.

    scores (N, K, 1), boxes (N, K, 4) xyxy, landmarks (N, K, 10).
    """

    scores: FloatArray
    boxes: FloatArray
    landmarks: FloatArray


def empty_slots(batch: int, count: int) -> Slots:
    """Slots with nothing in them."""
    return Slots(*(np.full((batch, count, width), EMPTY, np.float32) for width in (1, 4, 10)))


def retinaface_slots(
    loc: FloatArray,
    conf: FloatArray,
    landms: FloatArray,
    spec: PriorSpec,
    canvas_hw: tuple[int, int],
    params: NmsParams,
) -> Slots:
    """Decode, threshold and suppress. loc (N, P, 4), conf (N, P, 2) probabilities, landms (N, P, 10).

    Candidates are the best 5,000 whose finite score exceeds the threshold; of equal scores the lower prior index comes
    first. A candidate whose box or landmarks are not finite is dropped.
    """
    priors = priors_of(spec, canvas_hw)
    canvas_wh = np.array([canvas_hw[1], canvas_hw[0]], np.float32)
    slots = empty_slots(len(loc), params.max_detections)
    for image in range(len(loc)):
        scores = conf[image, :, 1]
        above = np.flatnonzero((scores > np.float32(params.confidence_threshold)) & np.isfinite(scores))
        order = above[np.argsort(-scores[above], kind="stable")][:CANDIDATES]
        with np.errstate(over="ignore", invalid="ignore"):
            boxes = decode_boxes(loc[image, order], priors[order], spec.variances) * np.tile(canvas_wh, 2)
            landmarks = decode_landmarks(landms[image, order], priors[order], spec.variances) * np.tile(canvas_wh, 5)
        finite = np.isfinite(boxes).all(1) & np.isfinite(landmarks).all(1)
        order, boxes, landmarks = order[finite], boxes[finite], landmarks[finite]
        kept = nms(boxes, params.nms_threshold, params.max_detections)
        slots.scores[image, : len(kept), 0] = scores[order[kept]]
        slots.boxes[image, : len(kept)] = boxes[kept]
        slots.landmarks[image, : len(kept)] = landmarks[kept]
    return slots


def detections_of(slots: Slots, letterbox: Letterbox, image: int = 0) -> Detections:
    """The filled slots of one image of the batch, in px of its source."""
    scores = slots.scores[image, :, 0]
    filled = scores != EMPTY
    count = int(np.count_nonzero(filled))
    # As a rule they come first, and a part is quicker to take than a choice.
    kept = slice(count) if filled[:count].all() else filled
    points = letterbox.to_source(np.concatenate((slots.boxes[image, kept], slots.landmarks[image, kept]), axis=1))
    return Detections(points[:, :4].copy(), scores[kept].copy(), points[:, 4:].copy().reshape(-1, 5, 2))
