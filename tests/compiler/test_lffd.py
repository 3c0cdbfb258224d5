"""LFFD's face nets, whose symbols are here and whose parameters are not, against numpy and plain loops."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluate_symbol import evaluate_symbol

from facedeploy.compiler.build import compile_model
from facedeploy.config.load import load_build_config
from facedeploy.config.shipped import find_config
from facedeploy.importers.mxnet.random_params import random_params
from facedeploy.importers.mxnet.symbol import read_symbol
from facedeploy.runtime.face_detector import FaceDetector

HW = (192, 256)
SEED = 5
COVERED = 0.35
CANDIDATES = 300
# Receptive field, stride and start of each scale, px.
V1 = [(15, 4, 3), (20, 4, 3), (40, 8, 7), (70, 8, 7), (110, 16, 15), (250, 32, 31), (400, 32, 31), (560, 32, 31)]
V2 = [(20, 4, 3), (40, 8, 7), (80, 16, 15), (160, 32, 31), (320, 64, 63)]


def faces(outputs: list[np.ndarray], scales: list[tuple[int, int, int]], skip: tuple[int, ...]) -> np.ndarray:
    """(n, 5) x1 y1 x2 y2 score of all fields but the skipped scales', best first."""
    rows = []
    for scale, (field, stride, start) in enumerate(scales):
        if scale in skip:
            continue
        scores, distances = outputs[2 * scale][0, 0], outputs[2 * scale + 1][0].astype(float)
        for row in range(scores.shape[0]):
            for column in range(scores.shape[1]):
                x, y = start + stride * column, start + stride * row
                left, top, right, bottom = distances[:, row, column] * field / 2
                box = max(0, x - left), max(0, y - top), min(HW[1], x - right), min(HW[0], y - bottom)
                rows.append([*box, scores[row, column]])
    return np.array(sorted(rows, key=lambda each: -each[4]))


def suppressed(rows: np.ndarray) -> np.ndarray:
    """A box goes when what a better one shares with it, sides + 1, is more than COVERED of its area, sides as they are.

    Random weights make boxes whose sides are negative, and areas with them.
    """
    kept: list[np.ndarray] = []
    for box in rows:
        area = (box[2] - box[0]) * (box[3] - box[1])
        shared = [
            max(0, min(box[2], other[2]) - max(box[0], other[0]) + 1)
            * max(0, min(box[3], other[3]) - max(box[1], other[1]) + 1)
            for other in kept
        ]
        if not any(each / area > COVERED for each in shared):
            kept.append(box)
    return np.array(kept)


@pytest.mark.parametrize(
    ("version", "symbol", "scales", "skip"),
    [
        ("v1", "symbol_10_560_25L_8scales_v1_deploy.json", V1, ()),
        ("v2", "symbol_10_320_20L_5scales_v2_deploy.json", V2, (1,)),
    ],
)
def test_face_net_with_random_weights_finds_what_numpy_does(
    shared_data: Path, tmp_path: Path, version: str, symbol: str, scales: list[tuple[int, int, int]], skip: tuple
) -> None:
    file = shared_data / "weights/mxnet/lffd" / symbol
    if not file.is_file():
        pytest.skip(f"no {file}")
    shape = (1, 3, *HW)
    photo = sorted((shared_data / "data/lffd_samples/face").glob("*.jpg"))[0]
    image = cv2.resize(cv2.imread(str(photo)), HW[::-1])
    params = random_params(read_symbol(file), shape, SEED)
    outputs = evaluate_symbol(json.loads(file.read_text()), params, image.astype(np.float32).transpose(2, 0, 1)[None])
    rows = faces(list(outputs.values()), scales, skip)
    # A threshold where scores are furthest apart: random weights score most fields near 1.
    gaps = rows[CANDIDATES // 2 : CANDIDATES, 4] - rows[CANDIDATES // 2 + 1 : CANDIDATES + 1, 4]
    last = CANDIDATES // 2 + int(gaps.argmax())
    confidence = float(rows[last : last + 2, 4].mean())
    expected = suppressed(rows[: last + 1])

    config = load_build_config(
        find_config(f"build_in/build/lffd_face_{version}_fp32.yaml").path,
        [
            f"frontend.checkpoint={file}",
            f"frontend.random_weights={SEED}",
            f"frontend.shape.data={list(shape)}",
            f"graph.extra_ops.params.skip_scales={list(skip)}",
            "dataset.process_ops=[{type: DecodeImage}, {type: CvtColor, code: COLOR_RGB2BGR}, {type: ToTensor}]",
            f"workspace.path={tmp_path}",
        ],
    )
    artifact = compile_model(config)
    assert artifact.manifest.source.metadata["params"] == f"random, seed {SEED}"
    assert "params_sha256" not in artifact.manifest.source.metadata
    found = FaceDetector.from_artifact(
        artifact.prefix, confidence_threshold=confidence, nms_threshold=COVERED, max_detections=CANDIDATES
    ).detect(image)
    assert len(found) == len(expected) > 5
    order, wanted = (np.lexsort(boxes.round().T) for boxes in (found.boxes, expected[:, :4]))
    np.testing.assert_allclose(found.scores[order], expected[wanted, 4], atol=1e-4)
    np.testing.assert_allclose(found.boxes[order], expected[wanted, :4], atol=0.05)
