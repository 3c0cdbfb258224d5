"""Canvases by an artifact's own function are those of OpenCV, however images lie in memory."""

import dataclasses

import numpy as np
import pytest

from facedeploy.core.errors import ImageError
from facedeploy.image.vdsp import to_canvas
from facedeploy.runtime.canvas import CanvasMaker
from facedeploy.runtime.face_detector import letterbox_params
from facedeploy.runtime.model import Model


@pytest.fixture(scope="module")
def maker(tiny_artifact) -> CanvasMaker:
    model = Model.open(tiny_artifact.prefix)
    maker = model.canvas_maker(letterbox_params(model))
    if maker.function is None:
        pytest.skip("this CPU has no AVX2, so artifacts for it have no letterbox")
    return maker


LAYOUTS = {
    "contiguous": lambda image: image,
    "cut out": lambda image: np.pad(image, ((3, 2), (5, 4), (0, 0)))[3:-2, 5:-4],
    "mirrored": lambda image: image[:, ::-1],
    "transposed": np.asfortranarray,
    "of another array's planes": lambda image: np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ["BGR", "RGB"])
@pytest.mark.parametrize("hw", [(240, 320), (96, 128), (50, 33), (1, 1), (7, 2000)])
def test_canvas_is_opencv_s(maker, layout, order, hw):
    image = LAYOUTS[layout](np.random.default_rng(0).integers(0, 256, (*hw, 3), np.uint8))
    canvas, box = maker(image, order)
    expected, expected_box = to_canvas(image, maker.params, order)
    np.testing.assert_array_equal(canvas, expected)
    assert box == expected_box


def test_a_read_only_image_stays_as_it_is(maker):
    image = np.random.default_rng(1).integers(0, 256, (77, 55, 3), np.uint8)
    image.setflags(write=False)
    np.testing.assert_array_equal(maker(image, "BGR")[0], to_canvas(image, maker.params)[0])


@pytest.mark.parametrize("kind", ["BILINEAR_PILLOW", "BILINEAR"])
def test_other_kinds_of_bilinear_are_theirs(maker, kind):
    params = dataclasses.replace(maker.params, resize_type=kind)
    image = np.random.default_rng(2).integers(0, 256, (200, 300, 3), np.uint8)
    canvas, _ = CanvasMaker(params, maker.function)(image, "BGR")
    np.testing.assert_array_equal(canvas, to_canvas(image, params)[0])


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_image_is_refused(maker, image):
    with pytest.raises(ImageError, match="expected"):
        maker(image, "BGR")
