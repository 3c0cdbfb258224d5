"""Which of an artifact's shapes takes an image."""

from dataclasses import replace

import numpy as np
import pytest

from facedeploy.artifact.store import open_artifact
from facedeploy.config.vdsp_params import Geometry, VdspParams
from facedeploy.core.errors import ArtifactError, ConfigError, ShapeError
from facedeploy.runtime.detector import build_detector
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.runtime.ladder import on_canvas, rungs_for
from facedeploy.runtime.model import Model
from facedeploy.runtime.operator import Work


def test_shapes_of_the_detector(tiny_ladder) -> None:
    artifact = open_artifact(tiny_ladder.prefix)

    def shapes(canvas=None, batch=None, default_hw=(96, 128)):
        return [rung.input.shape for rung in rungs_for(artifact, default_hw, canvas, batch)]

    assert shapes() == [(1, 3, 96, 128)]
    assert shapes(default_hw=(128, 96)) == [(1, 3, 128, 96)]
    assert shapes(canvas=(64, 128)) == [(1, 3, 64, 128)]
    assert shapes(batch=3) == [(1, 3, 96, 128), (3, 3, 96, 128)]
    assert shapes("nearest") == [(1, 3, 96, 128), (1, 3, 64, 128), (1, 3, 128, 96)]
    assert shapes("nearest", 3) == [(1, 3, 96, 128), (3, 3, 96, 128), (1, 3, 64, 128), (1, 3, 128, 96)]
    with pytest.raises(ShapeError, match=r"^canvas 64x64 \(height x width\), .* holds 96x128, 64x128, 128x96: take"):
        shapes((64, 64))
    with pytest.raises(ShapeError, match=r"batch 2: .*/mod holds 1, 3; frontend\.shape and frontend\.ladder"):
        shapes(batch=2)
    with pytest.raises(ShapeError, match=r"batch 3: .*/mod holds 1; "):
        shapes((64, 128), 3)
    assert shapes([64, 128]) == [(1, 3, 64, 128)]
    for canvas in ("nearst", "96x128", 96, (96,), (96.0, 128.0)):
        with pytest.raises(ConfigError, match=r"^canvas: got .*, expected \(height, width\) in px, or 'nearest'$"):
            shapes(canvas)


def test_canvas_of_larger_batches_alone_is_there(tiny_ladder) -> None:
    """Else images would lie on another canvas, and other faces be found, by the batch that was asked for."""
    opened = open_artifact(tiny_ladder.prefix)
    ladder = [
        replace(opened.manifest.base, input=replace(opened.manifest.base.input, shape=shape))
        for shape in ((1, 3, 96, 96), (8, 3, 64, 96), (4, 3, 64, 96), (2, 3, 96, 96))
    ]
    artifact = replace(opened, manifest=replace(opened.manifest, ladder=tuple(ladder)))

    def shapes(canvas, batch=None):
        return [rung.input.shape for rung in rungs_for(artifact, (96, 96), canvas, batch)]

    assert shapes("nearest") == [(1, 3, 96, 96), (4, 3, 64, 96)]
    assert shapes((64, 96)) == [(4, 3, 64, 96)]
    assert shapes("nearest", 2) == [(1, 3, 96, 96), (4, 3, 64, 96), (2, 3, 96, 96)]
    assert shapes("nearest", 8) == [(1, 3, 96, 96), (8, 3, 64, 96), (4, 3, 64, 96), (2, 3, 96, 96)]


def test_place_on_a_part_of_the_canvas_is_not_known_on_another(letterbox_on) -> None:
    params = letterbox_on((96, 128))
    assert on_canvas(params, (96, 128)) is params
    assert on_canvas(params, (64, 128)) == letterbox_on((64, 128))
    part = VdspParams(**{**vars(params), "geometry": Geometry((96, 128), (80, 80), True, (8, 8))})
    assert on_canvas(part, (96, 128)) is part
    with pytest.raises(ConfigError, match=r"a part of its canvas of 96x128 \(height x width\)"):
        on_canvas(part, (64, 128))


def test_each_picture_is_detected_on_its_canvas(tiny_ladder, pictures, same) -> None:
    """One by one, in a stream, and by the Python API: what a detector of that canvas alone finds."""
    chosen = {(150, 200): (96, 128), (97, 131): (96, 128), (300, 111): (128, 96), (64, 640): (64, 128)}
    chosen |= {(96, 128): (96, 128), (33, 17): (128, 96), (500, 400): (128, 96)}
    of_canvas = {hw: FaceDetector.from_artifact(tiny_ladder.prefix, canvas=hw) for hw in set(chosen.values())}
    expected = [of_canvas[chosen[picture.shape[:2]]].detect(picture) for picture in pictures]
    assert all(map(len, expected))
    every = FaceDetector.from_artifact(tiny_ladder.prefix, canvas="nearest", instances=2, decoders=2)
    for picture, faces in zip(pictures, expected, strict=True):
        same(every.detect(picture), faces)
    for work, faces in zip(every.run_async(pictures * 3), expected * 3, strict=True):
        same(work.detections, faces)
    api = build_detector(tiny_ladder.prefix, order="BGR", canvas="nearest", nms_iou_threshold=0.4)
    for rows, faces in zip(api.batched_detect(pictures), expected, strict=True):
        np.testing.assert_array_equal(rows[:, :4], faces.boxes)


@pytest.mark.parametrize("count", range(1, 8))
def test_images_go_in_the_batches_that_there_are(tiny_ladder, pictures, same, count) -> None:
    detector = FaceDetector.from_artifact(tiny_ladder.prefix, canvas="nearest", batch=3)
    assert detector.batch == 3
    alone = FaceDetector.from_artifact(tiny_ladder.prefix, canvas="nearest")
    for work, picture in zip(detector.run_sync(pictures[:count]), pictures, strict=False):
        same(work.detections, alone.detect(picture))


def test_a_batch_has_images_of_one_canvas_only(tiny_ladder) -> None:
    detector = FaceDetector.from_artifact(tiny_ladder.prefix, canvas="nearest", batch=3)
    (infer,) = detector.infers
    sizes = [(96, 128), (64, 128), (96, 128), (96, 128), (128, 96), (64, 128), (96, 128)]
    images = [np.zeros((*hw, 3), np.uint8) for hw in sizes]
    unit = detector.preprocess([Work(str(index), image, image=image) for index, image in enumerate(images)])
    calls = [(call.model.rung.input.shape, [int(work.name) for work in call.works]) for call in infer.infer(unit)]
    assert calls == [
        ((3, 3, 96, 128), [0, 2, 3]),
        ((1, 3, 64, 128), [1]),
        ((1, 3, 128, 96), [4]),
        ((1, 3, 64, 128), [5]),
        ((1, 3, 96, 128), [6]),
    ]


def test_what_is_no_image_is_named_whatever_the_canvas(tiny_ladder) -> None:
    detector = FaceDetector.from_artifact(tiny_ladder.prefix, canvas="nearest")
    works = list(
        detector.run_sync([np.zeros((5, 5), np.uint8), np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5, 3), np.uint8)])
    )
    assert [work.error is None for work in works] == [False, False, True]


def test_shape_that_the_code_lacks_is_one_sentence(edited) -> None:
    def change(manifest):
        manifest["ladder"].append({**manifest["ladder"][0], "suffix": "_1x3x8x8"})

    model = Model.open(edited(change))
    with pytest.raises(
        ArtifactError, match=r"mod\.json does not say what mod\.so takes \(.*_1x3x8x8.*\): copy all three"
    ):
        model.at(model.manifest.ladder[1])
