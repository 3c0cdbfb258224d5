"""YuNet, a detector that is a config alone, against OpenCV's own detector of it."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from facedeploy.compiler.build import compile_model
from facedeploy.config.load import load_build_config
from facedeploy.config.shipped import find_config
from facedeploy.runtime.face_detector import FaceDetector

CONFIDENCE, IOU = 0.6, 0.3


def test_yunet_finds_what_opencv_finds(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "weights" / "yunet_n_640_640.ShiqiYu.onnx"
    if not file.is_file() or not hasattr(cv2, "FaceDetectorYN"):
        pytest.skip(f"no {file}, or OpenCV without FaceDetectorYN")
    config = load_build_config(
        find_config("build_in/build/yunet_fp32.yaml").path,
        [f"frontend.checkpoint={file}", f"workspace.path={tmp_path}"],
    )
    artifact = compile_model(config)
    ours = FaceDetector.from_artifact(artifact.prefix, confidence_threshold=CONFIDENCE, nms_threshold=IOU)
    opencv = cv2.FaceDetectorYN.create(str(file), "", (640, 640), CONFIDENCE, IOU, 5000)
    count = 0
    for photo in sorted((shared_data / "data" / "wider_val_dev" / "images").glob("*/*.jpg"))[::100]:
        # A canvas as it is, so that neither one resizes.
        image = cv2.resize(cv2.imread(str(photo)), (640, 640))
        found = ours.detect(image)
        expected = opencv.detect(image)[1]
        expected = np.empty((0, 15), np.float32) if expected is None else expected[np.argsort(-expected[:, 14])]
        assert len(found) == len(expected)
        np.testing.assert_allclose(found.scores, expected[:, 14], atol=1e-4)
        np.testing.assert_allclose(found.boxes[:, :2], expected[:, :2], atol=0.05)
        np.testing.assert_allclose(found.boxes[:, 2:] - found.boxes[:, :2], expected[:, 2:4], atol=0.05)
        np.testing.assert_allclose(found.landmarks.reshape(-1, 10), expected[:, 4:14], atol=0.05)
        count += len(found)
    assert count > 10
