"""Heads that LFFD's net finds in MXNet, beside those of an artifact. Run by hand:

    python tests/reference/lffd_head.py SYMBOL.json X.params .../lffd_head_fp32/mod --mxnet mx/bin/python

For the photos of lffd_samples/head in FACEDEPLOY_DATA (mxnet_nets.py says how to have MXNet): each is laid on the
artifact's canvas, MXNet runs the net on that, and boxes are decoded and suppressed as LFFD's accuracy_evaluation/
predict.py does, written here again. Prints for each photo how many heads there are, the least IoU of a box with the
artifact's, and the greatest difference of a score; on nine photos at 640: 46 heads, 0.99999 and 3.4e-06.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from mxnet_nets import SERVER, served
from plain import DATA

from facedeploy import FaceDetector

SCALES = ((20, 4, 3), (40, 8, 7), (80, 16, 15), (160, 32, 31))  # Receptive field, stride, start, px.
SCORE, COVERED = 0.3, 0.3


def main() -> None:
    arguments = net_and_artifact(__doc__)
    detector = FaceDetector.from_artifact(arguments.prefix, confidence_threshold=SCORE, nms_threshold=COVERED)
    side, _ = detector.artifact.manifest.base.canvas_hw
    with served([arguments.mxnet, "-c", SERVER, arguments.symbol, arguments.params, side]) as server:
        for path in sorted((DATA.parent / "lffd_samples" / "head").glob("*.jpg")):
            image = cv2.imread(str(path))
            ratio = side / max(image.shape[:2])
            content = cv2.resize(image, (round(image.shape[1] * ratio), round(image.shape[0] * ratio)))
            canvas = np.zeros((side, side, 3), np.uint8)
            canvas[: content.shape[0], : content.shape[1]] = content
            expected = heads(server(canvas.astype(np.float32).transpose(2, 0, 1)), side)
            found = detector.detect(canvas)
            assert len(found) == len(expected), (path, len(found), len(expected))
            overlaps = [iou(box, head) for box, head in zip(found.boxes, expected, strict=True)]
            off = np.abs(found.scores - expected[:, 4]).max(initial=0)
            print(f"{path.name}: {len(found)} heads, IoU from {min(overlaps, default=1):.5f}, scores off by {off:.1e}")


def net_and_artifact(description: str) -> argparse.Namespace:
    """What a comparison of an artifact with its net in MXNet is given."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("symbol", type=Path)
    parser.add_argument("params", type=Path)
    parser.add_argument("prefix", type=Path)
    parser.add_argument("--mxnet", required=True, help="a Python that has MXNet 1.9.1")
    return parser.parse_args()


def heads(outputs: list[np.ndarray], side: int) -> np.ndarray:
    """(n, 5) x1 y1 x2 y2 score, best first."""
    rows = []
    for (field, stride, start), score, distance in zip(SCALES, outputs[::2], outputs[1::2], strict=True):
        for row, column in zip(*np.nonzero(score[0, 0] > SCORE), strict=True):
            x, y = start + stride * column, start + stride * row
            left, top, right, bottom = distance[0, :, row, column].astype(float) * field / 2
            box = [max(0, x - left), max(0, y - top), min(side, x - right), min(side, y - bottom)]
            rows.append([*box, float(score[0, 0, row, column])])
    kept: list[list[float]] = []
    for row in sorted(rows, key=lambda each: -each[4]):
        area = (row[2] - row[0]) * (row[3] - row[1])
        if all(shared(row, other, 1) <= COVERED * area for other in kept):
            kept.append(row)
    return np.array(kept).reshape(-1, 5)


def shared(a: list[float], b: list[float], more: int) -> float:
    width, height = (min(a[axis + 2], b[axis + 2]) - max(a[axis], b[axis]) + more for axis in range(2))
    return max(0.0, width) * max(0.0, height)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    common = shared(a, b, 0)
    return common / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - common)


if __name__ == "__main__":
    main()
