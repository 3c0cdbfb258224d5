"""The detector against an independent composition, and its choices of normalization and thresholds."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from facedeploy.config.vdsp_params import load_vdsp_params
from facedeploy.core.errors import ArtifactError, ConfigError, ImageError, ShapeError
from facedeploy.core.letterbox import Letterbox
from facedeploy.core.nms_params import NmsParams
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.detect.slots import detections_of, head_slots
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.runtime.model import Model
from facedeploy.runtime.operator import Work

MEAN = (104.0, 117.0, 123.0)
NMS = NmsParams(0.5, 0.4, 200)


@pytest.fixture(scope="module")
def composition(tiny_artifact):
    return compose(tiny_artifact.onnx, tiny_artifact.canvas_hw)


def compose(onnx, canvas_hw):
    """A detector of onnxruntime on the same ONNX, OpenCV for the letterbox, numpy for the rest."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    canvas_h, canvas_w = canvas_hw

    def detect(image, mean=MEAN, nms=NMS):
        height, width = image.shape[:2]
        ratio = min(canvas_w / width, canvas_h / height)
        content_w, content_h = round(width * ratio), round(height * ratio)
        left, top = (canvas_w - content_w) // 2, (canvas_h - content_h) // 2
        canvas = np.zeros((canvas_h, canvas_w, 3), np.uint8)
        canvas[top : top + content_h, left : left + content_w] = cv2.resize(image, (content_w, content_h))
        tensor = (canvas.astype(np.float32) - np.float32(mean)).transpose(2, 0, 1)[None]
        slots = head_slots(*session.run(None, {"input": tensor}), PriorSpec(), canvas_hw, nms)
        scale = np.array([width / content_w, height / content_h])
        filled = slots.scores[0, :, 0] > 0
        boxes = (slots.boxes[0][filled].reshape(-1, 2, 2) - (left, top)) * scale
        landmarks = (slots.landmarks[0][filled].reshape(-1, 5, 2) - (left, top)) * scale
        return boxes.reshape(-1, 4), slots.scores[0][filled][:, 0], landmarks

    return detect


def check(detections, expected):
    boxes, scores, landmarks = expected
    assert len(detections) == len(scores) > 0
    np.testing.assert_allclose(detections.boxes, boxes, rtol=0, atol=1e-3)
    np.testing.assert_allclose(detections.scores, scores, rtol=0, atol=1e-5)
    np.testing.assert_allclose(detections.landmarks, landmarks, rtol=0, atol=1e-3)


def vdsp(tmp_path, **changes):
    """The JSON that says what the artifact was built for, with changes."""
    config = {
        "IimageFormat": "RGB_PLANAR",
        "ColorCvtCode": "RGB2BGR",
        "OimageWidth": 128,
        "OimageHeight": 96,
        "ResizeType": "BILINEAR_CV",
        "NormaType": "MINUSMEAN_DIVSTD",
        "Mean": MEAN,
        "Std": [1.0, 1.0, 1.0],
        **changes,
    }
    data = {"OpType": "FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR", "OpConfig": config}
    (tmp_path / "vdsp.json").write_text(json.dumps(data))
    return load_vdsp_params(tmp_path / "vdsp.json")


def test_detections_are_those_of_an_independent_composition(detector, composition, pictures):
    for image in pictures:
        check(detector.detect(image), composition(image))
        assert len(detector.detect(image)) > 24


def test_rgb_order_gives_the_same_as_bgr(detector, pictures, same):
    for image in pictures:
        same(detector.detect(image), detector.detect(image[..., ::-1], "RGB"))
        same(detector.detect(image), detector.detect(np.ascontiguousarray(image[..., ::-1]), "RGB"))


def test_a_file_gives_the_same_as_its_pixels(detector, pictures, same, tmp_path):
    cv2.imwrite(str(tmp_path / "a.b.png"), pictures[0])
    for source in (tmp_path / "a.b.png", str(tmp_path / "a.b.png")):
        same(detector.detect(source), detector.detect(pictures[0]))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (None, "got NoneType, expected pixels.*cv2.imread gives None"),
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 4), np.uint8), r"shape \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        ("nowhere.jpg", "nowhere.jpg: cannot be read"),
    ],
)
def test_what_is_no_image_is_one_sentence(detector, image, said):
    with pytest.raises(ImageError, match=said) as error:
        detector.detect(image)
    assert len(str(error.value).splitlines()) == 1


def test_async_and_sync_give_exactly_the_same(detector, pictures, same, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    images = [*pictures, broken, Work("mine", pictures[1][..., ::-1], "RGB"), *pictures]
    by_sync, by_async = list(detector.run_sync(images)), list(detector.run_async(iter(images)))
    assert len(by_sync) == len(by_async) == len(images)
    for one, other in zip(by_sync, by_async, strict=True):
        assert one.name == other.name
        assert str(one.error) == str(other.error)
        if one.error is None:
            same(one.detections, other.detections)
    assert [index for index, work in enumerate(by_async) if work.error] == [len(pictures)]
    same(by_async[len(pictures) + 1].detections, by_async[1].detections)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_batch_of_any_fill_gives_what_single_images_give(tiny_batch3, detector, pictures, same, count):
    batched = FaceDetector.from_artifact(tiny_batch3.prefix, instances=2, decoders=2)
    assert batched.batch == 3
    works = list(batched.run_async(pictures[:count]))
    assert len(works) == count
    for work, image in zip(works, pictures, strict=False):
        same(work.detections, detector.detect(image), atol=1e-3)


def test_unreadable_image_in_a_batch_spares_the_others(tiny_batch3, pictures, same):
    batched = FaceDetector.from_artifact(tiny_batch3.prefix)
    works = list(batched.run_async([pictures[0], "nowhere.jpg", pictures[1]]))
    assert [work.error is not None for work in works] == [False, True, False]
    for work, image in zip(works[::2], pictures, strict=False):
        same(work.detections, batched.detect(image))


def test_instances_decode_where_no_thread_does(tiny_artifact, detector, pictures, same, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), pictures[0])
    alone = FaceDetector.from_artifact(tiny_artifact.prefix, instances=2, decoders=0)
    (team,) = alone.graph().teams
    assert team.workers == 2
    assert [stage.name for stage in team.stages] == ["decode", "preprocess", "infer", "to source"]
    images = [*pictures, tmp_path / "a.png", tmp_path / "nowhere.png"]
    *works, last = alone.run_async(images)
    for work, image in zip(works, [*pictures, pictures[0]], strict=True):
        same(work.detections, detector.detect(image))
    assert "nowhere.png: cannot be read" in str(last.error)


def test_results_of_a_stream_stay_as_they_were(detector, pictures, same):
    works = list(detector.run_async(pictures))
    for work, image in zip(works, pictures, strict=True):
        same(work.detections, detector.detect(image))


def test_json_that_says_the_same_takes_the_pixels_entry_and_has_no_note(
    tiny_artifact, detector, pictures, same, tmp_path
):
    by_json = FaceDetector.from_artifact(tiny_artifact.prefix, vdsp(tmp_path))
    assert by_json.note == detector.note == ""
    same(by_json.detect(pictures[0]), detector.detect(pictures[0]))


def test_json_of_another_canvas_is_an_error_that_names_both(tiny_artifact, tmp_path):
    with pytest.raises(
        ShapeError, match=r"JSON makes a canvas of 480x640 \(height x width\), .*/mod holds 96x128: take one"
    ):
        FaceDetector.from_artifact(tiny_artifact.prefix, vdsp(tmp_path, OimageWidth=640, OimageHeight=480))


def test_json_of_another_normalization_wins_and_a_note_says_so(
    tiny_artifact, composition, detector, pictures, tmp_path
):
    by_json = FaceDetector.from_artifact(tiny_artifact.prefix, vdsp(tmp_path, Mean=[90.0, 100.0, 110.0]))
    assert by_json.note == (
        "the vdsp JSON normalizes as BGR (pixel / 1 - [90, 100, 110]) / [1, 1, 1], the artifact was built for "
        "BGR (pixel / 1 - [104, 117, 123]) / [1, 1, 1]: the JSON is followed"
    )
    for image in pictures:
        check(by_json.detect(image), composition(image, mean=(90.0, 100.0, 110.0)))
    by_rgb = FaceDetector.from_artifact(tiny_artifact.prefix, vdsp(tmp_path, ColorCvtCode="NO_CHANGE"))
    assert by_rgb.note.startswith("the vdsp JSON normalizes as RGB")
    check(by_rgb.detect(pictures[0]), composition(pictures[0][..., ::-1]))
    assert len(by_rgb.detect(pictures[0])) != len(detector.detect(pictures[0]))


def test_thresholds_override_the_artifacts(tiny_artifact, composition, pictures):
    image = pictures[0]
    strict = FaceDetector.from_artifact(tiny_artifact.prefix, confidence_threshold=0.7, nms_threshold=0.6)
    check(strict.detect(image), composition(image, nms=NmsParams(0.7, 0.6, 200)))
    few = FaceDetector.from_artifact(tiny_artifact.prefix, max_detections=30)
    check(few.detect(image), composition(image, nms=NmsParams(0.5, 0.4, 30)))
    assert len(FaceDetector.from_artifact(tiny_artifact.prefix, confidence_threshold=1.0).detect(image)) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_detections": 100_000}, "max_detections: got 100000, expected a whole number from 1 to 5000"),
        ({"max_detections": 0}, "max_detections: got 0, expected a whole number from 1 to 5000"),
        ({"confidence_threshold": 1.5}, "confidence_threshold: got 1.5, expected a number from 0 to 1"),
        ({"nms_threshold": float("nan")}, "nms_threshold: got nan, expected a number from 0 to 1"),
    ],
)
def test_threshold_out_of_range_is_one_sentence(tiny_artifact, options, said):
    with pytest.raises(ConfigError) as error:
        FaceDetector.from_artifact(tiny_artifact.prefix, **options)
    assert str(error.value) == said


def test_artifact_without_normalization_needs_a_json(edited, composition, pictures, tmp_path):
    prefix = edited(lambda manifest: manifest.update(normalization=None))
    with pytest.raises(ArtifactError, match=r"compiled without dataset\.process_ops: give a vdsp JSON"):
        FaceDetector.from_artifact(prefix)
    by_json = FaceDetector.from_artifact(prefix, vdsp(tmp_path))
    assert by_json.note == ""
    check(by_json.detect(pictures[0]), composition(pictures[0]))


def test_artifact_without_post_processing_is_no_detector(edited):
    with pytest.raises(ArtifactError, match=r"compiled without graph\.extra_ops"):
        FaceDetector.from_artifact(edited(lambda manifest: manifest.update(postprocess=None)))


def test_faces_come_back_from_a_crop(tiny_artifact, pictures):
    """The geometry of the JSON leads back to source px, whatever it is."""
    model = Model.open(tiny_artifact.prefix)
    detector = FaceDetector.from_artifact(tiny_artifact.prefix)
    geometry = replace(detector.canvases[0].geometry, resize_hw=(150, 200), keep_aspect=False, origin_xy=(-20, -30))
    cropped = FaceDetector([[model]], [replace(detector.canvases[0], geometry=geometry)], detector.nms)
    image = pictures[0]
    box = Letterbox((150, 200), (96, 128), (150, 200), (-20, -30))
    slots = model.detect(model.infer_pixels(image[None, 30:126, 20:148]), detector.nms)
    expected = detections_of(slots, box)
    np.testing.assert_allclose(cropped.detect(image).boxes, expected.boxes, rtol=0, atol=1e-3)


@pytest.mark.flow
def test_real_net_on_photos_is_an_independent_composition_too(shared_data, tmp_path):
    pytest.importorskip("torch", reason="exporting needs torch")
    from facedeploy.compiler.build import compile_model
    from facedeploy.config.load import load_build_config
    from facedeploy.config.shipped import find_config
    from facedeploy.export.checkpoint import load_checkpoint
    from facedeploy.export.export_model import export_model
    from facedeploy.models.specs import MODELS

    spec = MODELS["mobilenet0.25"]
    weights = load_checkpoint(shared_data / "weights" / "mobilenet0.25_Final.pth", spec)
    exported = export_model(spec, (320, 320), weights=weights, output_dir=tmp_path).onnx.path
    overrides = [
        f"frontend.checkpoint={exported}",
        "frontend.shape.input=[1, 3, 320, 320]",
        "dataset.process_ops=[{type: DecodeImage}, {type: CvtColor, code: COLOR_RGB2BGR}, "
        "{type: Resize, size: [320, -1], adaptive_side: long}, {type: Pad, pad_to_square: true}, "
        "{type: Normalize, div255: false, mean: [104, 117, 123], std: [1, 1, 1]}, {type: ToTensor}]",
        f"workspace.path={tmp_path}",
    ]
    config = load_build_config(find_config("build_in/build/official_retinaface.yaml").path, overrides)
    detector = FaceDetector.from_artifact(compile_model(config).prefix)
    composition = compose(exported, (320, 320))
    photos = sorted((shared_data / "data" / "wider_val_dev" / "images").rglob("*.jpg"))[::125]
    for photo, work in zip(photos, detector.run_async(photos), strict=True):
        check(work.detections, composition(cv2.imread(str(photo)), nms=detector.nms))


@pytest.mark.parametrize("order", ["bgr", "rgb", "GRB", None])
def test_unknown_order_is_refused(detector, pictures, order):
    with pytest.raises(ConfigError, match=r"^order: got .*, expected RGB or BGR$"):
        detector.detect(pictures[0], order)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"instances": 0}, "instances: got 0, expected a whole number from 1"),
        ({"instances": 1.5}, "instances: got 1.5, expected a whole number from 1"),
        ({"instances": True}, "instances: got True, expected a whole number from 1"),
        ({"batch": "1"}, "batch: got '1', expected a whole number from 1"),
        ({"threads": -3}, "threads: got -3, expected a whole number from 1"),
        ({"threads": "2"}, "threads: got '2', expected a whole number from 1"),
        ({"decoders": -1}, "decoders: got -1, expected a whole number from 0"),
        ({"max_detections": 2.5}, "max_detections: got 2.5, expected a whole number from 1 to 5000"),
        ({"confidence_threshold": "0.5"}, "confidence_threshold: got '0.5', expected a number from 0 to 1"),
        ({"nms_threshold": 1.5}, "nms_threshold: got 1.5, expected a number from 0 to 1"),
        ({"scale": "x"}, "scale: got 'x', expected a number from 0.1 to 2"),
    ],
)
def test_option_that_cannot_be_is_one_sentence(tiny_artifact, options, said):
    with pytest.raises(ConfigError) as error:
        FaceDetector.from_artifact(tiny_artifact.prefix, **options)
    assert str(error.value) == said
