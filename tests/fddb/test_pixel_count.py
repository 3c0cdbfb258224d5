"""The whole evaluation of files, against one that draws every face and box, counts pixels and tries all matches."""

from itertools import permutations
from pathlib import Path

import cv2
import numpy as np
import pytest

from facedeploy.fddb.evaluate import evaluate

pytest.importorskip("scipy", reason="matching needs scipy (extra eval)")

HW = (180, 240)
FINER = 3  # Pixels that are counted, along each px.
MARGIN = 0.004  # Of an IoU, which counting gets wrong by less.
COUNTS = (0, 1, 2, 3, 5, 8, 13)

Face = tuple[float, float, float, float, float]
Box = tuple[float, float, float, float, float]


def synthetic(seed: int) -> tuple[list[list[Face]], list[list[Box]]]:
    """Faces of six images, some over the border, one image without; boxes near most of them and elsewhere."""
    random = np.random.default_rng(seed)
    all_faces, all_boxes = [], []
    for count in (1, 2, 3, 3, 1, 0):
        faces, boxes = [], []
        for _ in range(count):
            major, minor, angle = random.uniform(20, 40), random.uniform(14, 20), random.uniform(-1.6, 1.6)
            x, y = random.uniform(0, HW[1]), random.uniform(0, HW[0])
            faces.append((major, minor, angle, x, y))
            half_w = np.hypot(major * np.cos(angle), minor * np.sin(angle)) * random.uniform(0.7, 1.3)
            half_h = np.hypot(major * np.sin(angle), minor * np.cos(angle)) * random.uniform(0.7, 1.3)
            for _ in range(random.integers(0, 3)):
                left, top = x - half_w + random.normal(0, 5), y - half_h + random.normal(0, 5)
                boxes.append((left, top, 2 * half_w, 2 * half_h, random.choice([0.3, 0.5, 0.7, 0.9, 0.95])))
        boxes.append((*random.uniform(0, 100, 2), *random.uniform(10, 80, 2), random.uniform(0.2, 1)))
        all_faces.append(faces)
        all_boxes.append(boxes[:4])
    return all_faces, all_boxes


def drawn(shape: tuple[float, ...], cut: bool) -> np.ndarray:
    """Where a face (5 numbers) or a box (x y w h) is: a mask of fine pixels, the image with a border of 100 px."""
    around = 0 if cut else 100
    rows, columns = ((np.arange(-around * FINER, (side + around) * FINER) + 0.5) / FINER for side in HW)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    if len(shape) == 4:
        left, top, width, height = shape
        return (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
    major, minor, angle, cx, cy = shape
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    along, across = np.tensordot(back, np.stack([x - cx, y - cy]), axes=1)
    return (along / major) ** 2 + (across / minor) ** 2 <= 1


def counted(faces: list[Face], boxes: list[Box], cut: bool) -> np.ndarray:
    """The IoU of each face with each box."""
    masks = [drawn(box[:4], cut) for box in boxes]
    table = [
        [np.sum(face & box) / max(1, np.sum(face | box)) for box in masks] for face in (drawn(f, cut) for f in faces)
    ]
    return np.array(table).reshape(len(faces), len(boxes))


def best(table: np.ndarray) -> list[float]:
    """The IoUs of the assignment with the largest sum."""
    table = table if table.shape[0] <= table.shape[1] else table.T
    orders = permutations(range(table.shape[1]), table.shape[0])
    return max(([table[row, column] for row, column in enumerate(order)] for order in orders), key=sum)


def rates(
    tables: list[np.ndarray], all_boxes: list[list[Box]], faces: int
) -> tuple[dict[float, tuple[int, float, float]], bool]:
    """For each score: false positives and both rates; and whether no IoU that counts is near to one half."""
    points, clear = {}, True
    for threshold in sorted({box[4] for boxes in all_boxes for box in boxes}, reverse=True):
        false = found = total = 0.0
        for table, boxes in zip(tables, all_boxes, strict=True):
            kept = [index for index, box in enumerate(boxes) if box[4] >= threshold]
            matches = best(table[:, kept])
            clear &= all(abs(iou - 0.5) > MARGIN for iou in matches)
            hits = sum(iou > 0.5 for iou in matches)
            false, found, total = false + len(kept) - hits, found + hits, total + sum(matches)
        points[threshold] = int(false), found / faces, total / faces
    return points, clear


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_curve_is_that_of_counted_pixels(tmp_path: Path, seed: int, cut: bool) -> None:
    all_faces, all_boxes = synthetic(seed)
    names = [f"2002/08/11/big/img_{index}" for index in range(len(all_faces))]
    ellipses, results = [], []
    for name, faces, boxes in zip(names, all_faces, all_boxes, strict=True):
        ellipses += [name, str(len(faces)), *(" ".join(map(repr, map(float, (*face, 1)))) for face in faces)]
        results += [name, str(len(boxes)), *(" ".join(map(repr, map(float, box))) for box in boxes)]
        if cut:
            path = tmp_path / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.zeros((*HW, 3), np.uint8))
    truth, found = tmp_path / "FDDB-fold-01-ellipseList.txt", tmp_path / "results.txt"
    truth.write_text("\n".join(ellipses) + "\n")
    found.write_text("\n".join(results) + "\n")
    roc = evaluate(found, [truth], images=tmp_path if cut else None).roc

    tables = [counted(faces, boxes, cut) for faces, boxes in zip(all_faces, all_boxes, strict=True)]
    points, clear = rates(tables, all_boxes, sum(map(len, all_faces)))
    assert clear, "another seed: pixels cannot tell"
    assert list(roc.thresholds) == list(points)
    expected = np.array(list(points.values()))
    np.testing.assert_array_equal(roc.false_positives, expected[:, 0])
    np.testing.assert_allclose(roc.discrete, expected[:, 1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(roc.continuous, expected[:, 2], rtol=0, atol=MARGIN)
    assert 0 < roc.discrete[-1] < 1, "some faces are found, some are not"
    for count in COUNTS:
        allowed = [point[1:] for point in points.values() if point[0] <= count]
        discrete, continuous = roc.at(count)
        assert discrete == pytest.approx(max((each[0] for each in allowed), default=0))
        assert continuous == pytest.approx(max((each[1] for each in allowed), default=0), abs=MARGIN)
