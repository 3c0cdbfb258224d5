"""Images at so many times their size, against OpenCV's resize and an artifact of that canvas."""

import cv2
import numpy as np
import pytest

from facedeploy.config.vdsp_params import Geometry, VdspParams
from facedeploy.core.errors import ConfigError, ImageError
from facedeploy.runtime.face_detector import FaceDetector

CANVASES = [(96, 128), (64, 128), (128, 96)]  # Those of the ladder, the first one first.


def seen(picture: np.ndarray, scale: float) -> tuple[np.ndarray, tuple[int, int]] | None:
    """The canvas that OpenCV makes of a picture, the smallest with room, and its content's size; None without room."""
    content = cv2.resize(picture, None, fx=scale, fy=scale)
    height, width = content.shape[:2]
    content = cv2.resize(picture, (width, height))  # By the ratio of sizes, where `fx` would not be quite that.
    having_room = [hw for hw in CANVASES if height <= hw[0] and width <= hw[1]]
    if not having_room:
        return None
    canvas = np.zeros((*min(having_room, key=np.prod), 3), np.uint8)
    canvas[:height, :width] = content
    return canvas, (height, width)


@pytest.mark.parametrize("scale", [0.1, 0.2, 0.4, 0.9, 1.0, 2.0])
def test_faces_are_those_of_the_resized_picture_on_the_smallest_canvas(tiny_ladder, pictures, same, scale) -> None:
    detector = FaceDetector.from_artifact(tiny_ladder.prefix, scale=scale)
    found = 0
    for picture in pictures:
        expected = seen(picture, scale)
        if expected is None:
            with pytest.raises(ImageError, match=rf"at scale {scale:g}, the canvas .* has no room for it"):
                detector.detect(picture)
            continue
        canvas, (height, width) = expected
        faces = FaceDetector.from_artifact(tiny_ladder.prefix, canvas=canvas.shape[:2]).detect(canvas)
        ratio = np.array([picture.shape[1] / width, picture.shape[0] / height])
        got = detector.detect(picture)
        np.testing.assert_array_equal(got.scores, faces.scores)
        np.testing.assert_allclose(got.boxes, faces.boxes * np.tile(ratio, 2), rtol=1e-6, atol=1e-3)
        np.testing.assert_allclose(got.landmarks, faces.landmarks * ratio, rtol=1e-6, atol=1e-3)
        found += len(got)
    assert found > 0


def test_canvas_that_is_named_is_taken(tiny_ladder, pictures) -> None:
    small = cv2.resize(pictures[0], (120, 50))
    faces = FaceDetector.from_artifact(tiny_ladder.prefix, scale=1, canvas=(96, 128)).detect(small)
    canvas = np.zeros((96, 128, 3), np.uint8)
    canvas[:50, :120] = small
    expected = FaceDetector.from_artifact(tiny_ladder.prefix, canvas=(96, 128)).detect(canvas)
    np.testing.assert_array_equal(faces.scores, expected.scores)
    assert len(faces)
    message = r"^an image of 70x60 is 70x60 at scale 1, the canvas 64x128 \(height x width\) has no room for it: "
    with pytest.raises(ImageError, match=message):
        FaceDetector.from_artifact(tiny_ladder.prefix, scale=1, canvas=(64, 128)).detect(np.ones((70, 60, 3), np.uint8))


@pytest.mark.parametrize("scale", [0, 0.09, 2.01, float("nan"), float("inf")])
def test_what_is_no_scale_is_refused(tiny_ladder, scale) -> None:
    with pytest.raises(ConfigError, match=rf"^scale: got {scale:g}, expected a number from 0.1 to 2$"):
        FaceDetector.from_artifact(tiny_ladder.prefix, scale=scale)


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry((96, 128), (96, 128), keep_aspect=False),
        Geometry((96, 128), (80, 80), keep_aspect=True, origin_xy=(8, 8)),
        Geometry((96, 128), (200, 200), keep_aspect=False, origin_xy=(-8, -8)),
    ],
)
def test_json_that_says_another_size_is_refused(tiny_ladder, letterbox_on, geometry) -> None:
    params = VdspParams(**{**vars(letterbox_on((96, 128))), "geometry": geometry})
    with pytest.raises(ConfigError, match="leave --scale out, or take a JSON of a plain letterbox"):
        FaceDetector.from_artifact(tiny_ladder.prefix, params, scale=1)
