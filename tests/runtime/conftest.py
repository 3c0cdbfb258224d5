import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from facedeploy.config.vdsp_params import Geometry, VdspParams
from facedeploy.runtime.face_detector import FaceDetector


@pytest.fixture(scope="session")
def tiny_batch3(compile_tiny):
    """The same net for three images at a time."""
    return compile_tiny(3)


@pytest.fixture(scope="session")
def detector(tiny_artifact):
    return FaceDetector.from_artifact(tiny_artifact.prefix)


@pytest.fixture(scope="session")
def pictures():
    """Pictures of several sizes, u8 BGR, as different from one another as photos are."""
    random = np.random.default_rng(1)
    sizes = [(150, 200), (97, 131), (300, 111), (64, 640), (96, 128), (33, 17), (500, 400)]
    return [
        cv2.resize(random.integers(0, 256, (12, 16, 3), np.uint8), hw[::-1], interpolation=cv2.INTER_CUBIC)
        for hw in sizes
    ]


@pytest.fixture(scope="session")
def letterbox_on():
    """The letterbox on a canvas, (height, width) px, as a vdsp JSON says it."""

    def params_of(canvas_hw):
        return VdspParams(
            op_type="FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR",
            geometry=Geometry(canvas_hw, canvas_hw, keep_aspect=True),
            resize_type="BILINEAR_CV",
            color_order="BGR",
            norma_type="MINUSMEAN_DIVSTD",
            mean=(104.0, 117.0, 123.0),
            std=(1.0, 1.0, 1.0),
        )

    return params_of


@pytest.fixture
def edited(tiny_artifact, tmp_path):
    """A copy of the artifact whose manifest is changed by a function."""

    def edit(change):
        folder = tmp_path / "edited"
        shutil.copytree(tiny_artifact.prefix.parent, folder)
        manifest = json.loads((folder / "mod.json").read_text())
        change(manifest)
        (folder / "mod.json").write_text(json.dumps(manifest))
        return Path(folder) / "mod"

    return edit


def assert_same(one, other, atol=0.0):
    """Detections are equal, or within `atol` px."""
    assert len(one) == len(other)
    for name in ("boxes", "scores", "landmarks"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=atol, err_msg=name)


@pytest.fixture(scope="session")
def same():
    return assert_same
