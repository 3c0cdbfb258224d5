"""Boxes of one image against its labeled faces, for every difficulty at once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facedeploy.widerface.ground_truth import ImageFaces
from facedeploy.widerface.prediction_files import Predictions

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

IOU_THRESHOLD = 0.5
# Pairs of box and face whose overlaps are computed at a time: the temporary arrays then stay in cache.
PAIRS = 1 << 15


@dataclass(frozen=True, eq=False)
class Match:
    """What the N boxes of one image add to the curves of the difficulties.

    scores (N,), as in the file. proposal (3, N): the box is a proposal, i.e. not dropped for an ignored face. found
    (3, N): the box is the first to hit its face, and that face counts.
    """

    scores: FloatArray
    proposal: BoolArray
    found: BoolArray


def match(image: ImageFaces, predictions: Predictions) -> Match:
    """Match the boxes in the order given (WIDER FACE's evaluation toolkit, `image_evaluation`).

    Each box takes the face it overlaps best (the first of equals) and hits it from IoU 0.5 up; several boxes may hit
    one face. An image without faces adds nothing: its boxes are no proposals.
    """
    scores = np.ascontiguousarray(predictions.scores)  # A copy, for a view would keep the boxes of all images.
    count = len(scores)
    if not count or not len(image.boxes_xywh):
        nothing = np.zeros((len(image.counted), count), np.bool_)
        return Match(scores, nothing, nothing)
    best, overlap = best_faces(predictions.boxes_xywh, image.boxes_xywh)
    hit = overlap >= IOU_THRESHOLD
    hitting = np.flatnonzero(hit)
    first = np.zeros(count, np.bool_)
    first[hitting[np.unique(best[hitting], return_index=True)[1]]] = True
    counted = image.counted[:, best]
    return Match(scores, ~hit | counted, first & counted)


def best_faces(boxes_xywh: FloatArray, faces_xywh: FloatArray) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """For each of (N, 4) boxes, N > 0, the index (N,) of the face (G, 4), G > 0, of highest IoU, and that IoU (N,).

    Areas and overlaps count +1 a side; x y w h in px.
    """
    best, highest = [], []
    step = max(1, PAIRS // len(faces_xywh))
    with np.errstate(over="ignore", invalid="ignore"):  # A box of 1e300 px hits nothing.
        for start in range(0, len(boxes_xywh), step):
            overlaps = _overlaps(faces_xywh, boxes_xywh[start : start + step])
            best.append(overlaps.argmax(axis=0))
            highest.append(overlaps[best[-1], np.arange(overlaps.shape[1])])
    return np.concatenate(best), np.concatenate(highest)


def _overlaps(faces_xywh: FloatArray, boxes_xywh: FloatArray) -> FloatArray:
    """IoU (G, N). Boxes lie along the rows, since there are more of them than faces: numpy is quick along a row."""
    faces: FloatArray = faces_xywh.T[:, :, None]
    boxes: FloatArray = np.ascontiguousarray(boxes_xywh.T)
    overlaps = _shared_length(faces[0], faces[2], boxes[0], boxes[2])
    overlaps *= _shared_length(faces[1], faces[3], boxes[1], boxes[3])
    # A side below -1 shares nothing with anything; a tiny area in place of its own keeps the union from being 0.
    union = np.maximum(_area(faces), 0) + np.maximum(_area(boxes), np.finfo(np.float64).tiny)
    union -= overlaps
    overlaps /= union
    return overlaps


def _shared_length(start: FloatArray, size: FloatArray, other_start: FloatArray, other_size: FloatArray) -> FloatArray:
    """How many px two stretches share, 0 if none. In place: the arrays of pairs are what takes the time."""
    length: FloatArray = np.minimum(start + size, other_start + other_size)
    length -= np.maximum(start, other_start)
    length += 1
    np.maximum(length, 0, out=length)
    return length


def _area(boxes: FloatArray) -> FloatArray:
    """Of rows x y w h; from the corners, as the toolkit has it."""
    x, y, w, h = boxes
    area: FloatArray = ((x + w) - x + 1) * ((y + h) - y + 1)
    return area
