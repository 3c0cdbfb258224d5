"""The arrays that applications get, against FaceDetector and the command line."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

import facedeploy
from facedeploy.cli.main import main
from facedeploy.core.detections import Detections
from facedeploy.core.errors import ArtifactError, ConfigError, DeviceError, FacedeployError, ImageError
from facedeploy.runtime.detector import build_detector
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.widerface.prediction_files import write_predictions


@pytest.fixture(scope="module")
def faces(tiny_artifact):
    """What every result is to equal: BGR in, thresholds of `build_detector`."""
    return FaceDetector.from_artifact(tiny_artifact.prefix, confidence_threshold=0.5, nms_threshold=0.3)


@pytest.fixture(scope="module")
def bgr(tiny_artifact):
    return build_detector(tiny_artifact.prefix, order="BGR")


def rows(detections):
    return np.concatenate([detections.boxes, detections.scores[:, None]], axis=1)


def test_boxes_and_scores_are_those_of_the_face_detector_to_the_bit(tiny_artifact, bgr, faces, pictures):
    rgb = build_detector(str(tiny_artifact.prefix))
    for image in pictures:
        expected = rows(faces.detect(image))
        assert len(expected) > 20
        for found in (bgr.detect(image), rgb.detect(image[:, :, ::-1])):
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, expected)
        assert (np.diff(expected[:, 4]) <= 0).all()


def test_boxes_and_scores_are_those_of_the_command_line_to_the_bit(tiny_artifact, bgr, pictures, tmp_path, capsys):
    for index, image in enumerate(pictures):
        cv2.imwrite(str(tmp_path / f"{index}.png"), image)
    words = ["--file_path", tmp_path, "--model_prefix_path", tiny_artifact.prefix, "--save_dir", tmp_path / "out"]
    thresholds = ["--confidence_threshold", 0.5, "--nms_threshold", 0.3]
    assert main(list(map(str, ["run", *words, *thresholds]))) == 0
    for index, image in enumerate(pictures):
        (found,), (landmarks,) = bgr.batched_detect_with_landmarks([image])
        again = Detections(found[:, :4], found[:, 4], landmarks)
        write_predictions(tmp_path / "again.txt", str(index), again)
        assert (tmp_path / "again.txt").read_bytes() == (tmp_path / "out" / f"{index}.txt").read_bytes()


def test_thresholds_are_those_given(tiny_artifact, pictures):
    strict = FaceDetector.from_artifact(tiny_artifact.prefix, confidence_threshold=0.75, nms_threshold=0.6)
    expected = rows(strict.detect(pictures[0]))
    for threshold in (0.75, np.float32(0.75)):
        found = build_detector(tiny_artifact.prefix, threshold, 0.6, order="BGR").detect(pictures[0])
        np.testing.assert_array_equal(found, expected)


def test_batch_of_mixed_sizes_is_each_image_alone(bgr, faces, pictures):
    for images in (pictures, tuple(pictures)):
        boxes, landmarks = bgr.batched_detect_with_landmarks(images)
        assert len(boxes) == len(landmarks) == len(images)
        for found, points, image in zip(boxes, landmarks, images, strict=True):
            expected = faces.detect(image)
            np.testing.assert_array_equal(found, rows(expected))
            np.testing.assert_array_equal(points, expected.landmarks)
    for found, again in zip(bgr.batched_detect(pictures), boxes, strict=True):
        np.testing.assert_array_equal(found, again)


def test_one_array_of_images_is_a_batch_too(bgr, pictures):
    stacked = np.stack([cv2.resize(image, (90, 70)) for image in pictures[:4]])
    for found, image in zip(bgr.batched_detect(stacked), stacked, strict=True):
        np.testing.assert_array_equal(found, bgr.detect(image))


def test_artifact_that_holds_a_batch_gives_what_one_image_at_a_time_gives(tiny_batch3, bgr, pictures):
    batched = build_detector(tiny_batch3.prefix, order="BGR")
    for found, image in zip(batched.batched_detect(pictures), pictures, strict=True):
        np.testing.assert_allclose(found, bgr.detect(image), rtol=0, atol=1e-3)


def test_empty_results_have_their_shapes(tiny_artifact, pictures):
    nothing = build_detector(tiny_artifact.prefix, confidence_threshold=1.0, biggest_face=True, margin=0.1)
    assert nothing.detect(pictures[0]).shape == (0, 5)
    boxes, landmarks = nothing.batched_detect_with_landmarks(pictures[:2])
    assert [part.shape for part in (*boxes, *landmarks)] == [(0, 5), (0, 5), (0, 5, 2), (0, 5, 2)]
    assert all(part.dtype == np.float32 for part in (*boxes, *landmarks))
    assert nothing.batched_detect([]) == []
    assert nothing.batched_detect(np.empty((0, 5, 5, 3), np.uint8)) == []
    assert nothing.batched_detect_with_landmarks([]) == ([], [])


def test_options_select_grow_and_clip_as_plain_numpy_does(tiny_artifact, faces, pictures):
    image = pictures[0]
    found = faces.detect(image)
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    low, high = np.quantile(sides.min(1), 0.3), np.quantile(sides.max(1), 0.8)
    kept = (sides.min(1) >= low) & (sides.max(1) <= high)
    assert 0 < kept.sum() < len(found)

    def detector(**options):
        return build_detector(tiny_artifact.prefix, order="BGR", **options)

    boxes, landmarks = detector(min_size=low, max_size=high).batched_detect_with_landmarks([image])
    np.testing.assert_array_equal(boxes[0], rows(found)[kept])
    np.testing.assert_array_equal(landmarks[0], found.landmarks[kept])
    height, width = image.shape[:2]
    clipped = detector(clip_boxes=True).detect(image)
    outside = found.boxes.copy()
    assert outside.min() < 0
    outside[:, ::2], outside[:, 1::2] = outside[:, ::2].clip(0, width), outside[:, 1::2].clip(0, height)
    np.testing.assert_array_equal(clipped[:, :4], outside)
    grown = detector(margin=0.5).detect(image)
    np.testing.assert_array_equal(grown[:, :2], found.boxes[:, :2] - sides / 2)
    np.testing.assert_array_equal(grown[:, 2:4], found.boxes[:, 2:] + sides / 2)
    (biggest,) = detector(biggest_face=True).detect(image)
    np.testing.assert_array_equal(biggest, rows(found)[sides.prod(1).argmax()])


@pytest.mark.parametrize("limit", [1, 40, 100])
def test_max_resolution_is_a_smaller_image_in_the_middle_of_the_canvas(tiny_artifact, faces, pictures, limit):
    """The oracle lays the shrunk image on a black canvas itself, and detects on that."""
    limited = build_detector(tiny_artifact.prefix, max_resolution=limit, order="BGR")
    canvas_h, canvas_w = tiny_artifact.canvas_hw
    for image in pictures:
        height, width = image.shape[:2]
        ratio = min(min(canvas_w, limit) / width, min(canvas_h, limit) / height)
        w, h = max(1, round(width * ratio)), max(1, round(height * ratio))
        assert max(w, h) <= limit
        area_w, area_h = min(canvas_w, limit), min(canvas_h, limit)
        left = (canvas_w - area_w) // 2 + (area_w - w) // 2
        top = (canvas_h - area_h) // 2 + (area_h - h) // 2
        canvas = np.zeros((canvas_h, canvas_w, 3), np.uint8)
        canvas[top : top + h, left : left + w] = cv2.resize(image, (w, h))
        expected = rows(faces.detect(canvas))
        offset, scale = np.array([left, top] * 2), np.array([width / w, height / h] * 2)
        expected[:, :4] = (expected[:, :4] - offset) * scale
        np.testing.assert_allclose(limited.detect(image), expected, rtol=1e-5, atol=1e-2)


def test_max_resolution_from_the_canvas_up_changes_nothing(tiny_artifact, bgr, pictures):
    for limit in (128, 5000):
        limited = build_detector(tiny_artifact.prefix, max_resolution=limit, order="BGR")
        for image in pictures:
            np.testing.assert_array_equal(limited.detect(image), bgr.detect(image))


def test_a_name_opens_the_artifact_of_that_folder(tiny_artifact, bgr, pictures, monkeypatch):
    monkeypatch.setenv("FACEDEPLOY_ARTIFACTS", str(tiny_artifact.prefix.parent.parent))
    found = build_detector("tiny", order="BGR").detect(pictures[0])
    np.testing.assert_array_equal(found, bgr.detect(pictures[0]))


def test_fp16_takes_an_artifact_that_says_so_and_no_other(tiny_artifact, edited, bgr, pictures):
    with pytest.raises(ArtifactError, match=r"^fp16_inference: .*/mod holds fp32, expected fp16: give the prefix of"):
        build_detector(tiny_artifact.prefix, fp16_inference=True)
    half = edited(lambda manifest: manifest.update(dtype="fp16"))
    for choice in ({"fp16_inference": True}, {}):
        found = build_detector(half, order="BGR", **choice).detect(pictures[0])
        np.testing.assert_array_equal(found, bgr.detect(pictures[0]))


def test_fp16_of_a_name_that_is_not_there_names_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FACEDEPLOY_ARTIFACTS", raising=False)
    with pytest.raises(ArtifactError, match=r"RetinaNetResNet50 in fp16: .*vamc compile build_in/build/resnet50_fp16"):
        build_detector("RetinaNetResNet50", fp16_inference=True)


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"order": "rgb"}, ConfigError, "order: got 'rgb', expected RGB or BGR"),
        ({"confidence_threshold": 2}, ConfigError, "confidence_threshold: got 2, expected a number from 0 to 1"),
        ({"confidence_threshold": "0.5"}, ConfigError, "confidence_threshold: got '0.5', expected a number from 0"),
        ({"nms_iou_threshold": float("nan")}, ConfigError, "nms_iou_threshold: got nan, expected a number from 0 to 1"),
        ({"max_resolution": 0}, ConfigError, "max_resolution: got 0, expected a whole number of px from 1"),
        ({"max_resolution": 640.5}, ConfigError, "max_resolution: got 640.5, expected a whole number of px"),
        ({"margin": -0.1}, ConfigError, "margin: got -0.1, expected a number from 0"),
        ({"min_size": 5, "max_size": 4}, ConfigError, "min_size 5 is above max_size 4"),
        ({"device": 3}, DeviceError, r"device: got 3; the devices here: 0 \("),
    ],
)
def test_wrong_options_are_one_sentence(tiny_artifact, options, kind, said):
    with pytest.raises(kind, match=said) as error:
        build_detector(tiny_artifact.prefix, **options)
    assert len(str(error.value).splitlines()) == 1


IMAGE = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (None, "image: got NoneType, expected pixels"),
        ("photo.jpg", "image: got str, expected pixels.*FaceDetector reads files"),
        (IMAGE.tolist(), "image: got list"),
        (IMAGE[None], r"image: got an image of shape \(1, 4, 4, 3\)"),
        (IMAGE / 255, "image: .*float64; expected"),
        (IMAGE[:0], r"image: .*shape \(0, 4, 3\)"),
    ],
)
def test_what_is_no_image_is_one_sentence(bgr, image, said):
    with pytest.raises(ImageError, match=said) as error:
        bgr.detect(image)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (IMAGE, r"images: got one array of shape \(4, 4, 3\).*detect takes a single image"),
        (None, "images: got NoneType, expected an array"),
        ("photo.jpg", "images: got str, expected an array"),
        (iter([IMAGE]), "images: got list_iterator, expected an array"),
        ([IMAGE, None], r"images\[1\]: got NoneType, expected pixels"),
        ([IMAGE, IMAGE[..., 0]], r"images\[1\]: got an image of shape \(4, 4\)"),
        (np.zeros((2, 4, 4, 1), np.uint8), r"images\[0\]: got an image of shape \(4, 4, 1\)"),
    ],
)
def test_what_is_no_batch_is_one_sentence(bgr, images, said):
    with pytest.raises(ImageError, match=said) as error:
        bgr.batched_detect_with_landmarks(images)
    assert len(str(error.value).splitlines()) == 1


def test_names_are_known_without_tvm_and_no_artifact_is_a_user_error(tmp_path):
    code = "import facedeploy, sys; print(*facedeploy.available_detectors, 'tvm' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    printed = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment)
    assert printed.split() == [*facedeploy.available_detectors, "False"]
    with pytest.raises(FacedeployError, match="no artifact at"):
        facedeploy.build_detector(tmp_path / "mod")
