"""The vectorised evaluator against a slow one in plain loops, written from the protocol's words."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from facedeploy.widerface.average_precision import average_precision, precision_recall
from facedeploy.widerface.ground_truth import ImageFaces
from facedeploy.widerface.matching import IOU_THRESHOLD, best_faces, match
from facedeploy.widerface.prediction_files import Predictions

# Half-pixel steps on a small grid make ties, IoU of exactly 0.5, and boxes without area likely.
COORDINATE = st.integers(-4, 16).map(lambda value: value / 2)
SIZE = st.integers(-4, 20).map(lambda value: value / 2)
BOX = st.tuples(COORDINATE, COORDINATE, SIZE, SIZE)
SCORE = st.one_of(st.sampled_from([0.0, 0.02, 0.1, 0.5, 0.5005, 0.999, 1.0]), st.floats(-2, 3, width=32))
FACE = st.tuples(BOX, st.tuples(st.booleans(), st.booleans(), st.booleans()))
IMAGE = st.tuples(st.lists(st.tuples(BOX, SCORE), max_size=6), st.lists(FACE, max_size=4))


def slow_iou(box, face):
    width = min(box[0] + box[2], face[0] + face[2]) - max(box[0], face[0]) + 1
    height = min(box[1] + box[3], face[1] + face[3]) - max(box[1], face[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((box[2] + 1) * (box[3] + 1) + (face[2] + 1) * (face[3] + 1) - width * height)


def slow_walk(boxes, faces, difficulty):
    """After each box of one image: how many proposals and how many found faces so far."""
    found, proposals, counts = set(), 0, []
    for box, _ in boxes:
        overlaps = [slow_iou(box, face) for face, _ in faces]
        best = overlaps.index(max(overlaps))
        if overlaps[best] < 0.5:
            proposals += 1
        elif faces[best][1][difficulty]:
            proposals += 1
            found.add(best)
        counts.append((proposals, len(found)))
    return counts


def slow_evaluation(images, difficulty):
    """AP and the curve of one difficulty."""
    scores = [score for boxes, _ in images for _, score in boxes]
    low, high = min(scores, default=0), max(scores, default=0)
    total = sum(counted[difficulty] for _, faces in images for _, counted in faces)
    walks = [
        ([(s - low) / (high - low) if high > low else 1.0 for _, s in boxes], slow_walk(boxes, faces, difficulty))
        for boxes, faces in images
        if boxes and faces
    ]
    curve = []
    for step in range(1000):
        threshold = 1 - (step + 1) / 1000
        proposals = found = 0
        for normalized, counts in walks:
            reaching = [index for index, score in enumerate(normalized) if score >= threshold]
            if reaching:
                proposals += counts[reaching[-1]][0]
                found += counts[reaching[-1]][1]
        curve.append((found / proposals if proposals else 0.0, found / total if total else 0.0))
    area = envelope = 0.0
    for step in reversed(range(1000)):
        envelope = max(envelope, curve[step][0])
        area += envelope * (curve[step][1] - (curve[step - 1][1] if step else 0.0))
    return area, curve


def arrays(images):
    for boxes, faces in images:
        yield (
            ImageFaces(
                "event/image",
                np.array([face for face, _ in faces], np.float64).reshape(-1, 4),
                np.array([counted for _, counted in faces], np.bool_).reshape(-1, 3).T,
            ),
            Predictions(
                "event/image",
                np.array([box for box, _ in boxes], np.float64).reshape(-1, 4),
                np.array([score for _, score in boxes], np.float64),
            ),
        )


FACE_AT_0 = ((0, 0, 9, 9), (True, True, False))
HALF_OF_IT = (0, 0, 9, 4)


@settings(max_examples=100, deadline=None)
@given(st.lists(IMAGE, min_size=1, max_size=3))
@example([([], [FACE_AT_0])])
@example([([(HALF_OF_IT, 0.5)], [])])
@example([([(HALF_OF_IT, 0.5), (HALF_OF_IT, 0.5)], [FACE_AT_0, FACE_AT_0])])
@example([([(HALF_OF_IT, 0.1), ((0, 0, 9, 9), 0.9), ((20, 0, 9, 9), 0.3)], [FACE_AT_0])])
@example([([((0, 0, -1, -1), 0.1), ((5, 5, -3, -3), 0.9)], [((0, 0, -1, -1), (True, True, True))])])
def test_evaluator_agrees_with_plain_loops(images):
    pairs = list(arrays(images))
    matches = [match(*pair) for pair in pairs]
    totals = [int(sum(faces.counted[difficulty].sum() for faces, _ in pairs)) for difficulty in range(3)]
    curves = precision_recall(matches, totals)
    assert curves.shape == (3, 1000, 2)
    for difficulty in range(3):
        area, curve = slow_evaluation(images, difficulty)
        np.testing.assert_allclose(curves[difficulty], curve, rtol=0, atol=1e-12)
        assert average_precision(curves[difficulty]) == pytest.approx(area, abs=1e-12)


def test_box_takes_the_first_of_equal_faces_and_hits_at_exactly_half():
    best, overlap = best_faces(np.array([HALF_OF_IT], np.float64), np.array([[0, 0, 9, 9]] * 2, np.float64))
    assert (best[0], overlap[0]) == (0, IOU_THRESHOLD)


def test_best_faces_do_not_depend_on_blocks(monkeypatch):
    generator = np.random.default_rng(0)
    boxes, faces = generator.uniform(0, 50, (100, 4)), generator.uniform(0, 50, (7, 4))
    whole = best_faces(boxes, faces)
    monkeypatch.setattr("facedeploy.widerface.matching.PAIRS", 20)
    for one, other in zip(whole, best_faces(boxes, faces), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("error")
def test_boxes_of_absurd_size_hit_nothing():
    boxes = np.array([[0, 0, 1e308, 1e308], [-1e308, 0, 1, -1], [1e308, 1e308, 1e308, 1e308]])
    _, overlap = best_faces(boxes, np.array([[0, 0, 9, 9], [0, 0, -1, -1.0]]))
    assert not (overlap >= IOU_THRESHOLD).any()
