"""process_ops and vdsp: each by itself, and that they agree."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.config.process_ops import CenterCrop, CvtColor, DecodeImage, Normalize, Pad, Resize, ToTensor
from facedeploy.config.vdsp_params import Geometry, VdspParams, load_vdsp_params
from facedeploy.core.errors import ImageError
from facedeploy.core.letterbox import Letterbox
from facedeploy.core.normalization import Normalization
from facedeploy.image import operations
from facedeploy.image.opencv import cv2
from facedeploy.image.process_ops import normalization_of, run_process_ops
from facedeploy.image.vdsp import letterbox, normalization_from_vdsp, preprocess, to_canvas

DECODE, TO_BGR, TENSOR = DecodeImage("DecodeImage"), CvtColor("CvtColor", "COLOR_RGB2BGR"), ToTensor("ToTensor")
SQUARE = Pad("Pad", pad_to_square=True)
MEAN, STD = (104.0, 117.0, 123.0), (1.0, 2.0, 3.0)
PARAMS = VdspParams(
    op_type="FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR",
    geometry=Geometry((64, 64), (64, 64), keep_aspect=True),
    resize_type="BILINEAR_CV",
    color_order="BGR",
    norma_type="MINUSMEAN_DIVSTD",
    mean=MEAN,
    std=STD,
)
SIDE = st.integers(1, 200)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def fit(side):
    return Resize("Resize", (side, -1), "long")


@settings(deadline=None, max_examples=100)
@given(SIDE, SIDE, st.integers(1, 96), st.sampled_from(["DIV255_MINUSMEAN_DIVSTD", "DIV255", "EQUAL"]), st.booleans())
def test_process_ops_and_vdsp_give_the_same_tensor(height, width, side, norma_type, swap):
    image = noise(height, width)
    geometry = Geometry((side, side), (side, side), keep_aspect=True)
    params = replace(PARAMS, geometry=geometry, norma_type=norma_type, color_order="BGR" if swap else "RGB")
    normalize = Normalize("Normalize", norm_type=norma_type, mean=MEAN, std=STD)
    ops = [DECODE, *([TO_BGR] if swap else []), fit(side), SQUARE, normalize, TENSOR]
    tensor, box = preprocess(image, params)
    np.testing.assert_array_equal(run_process_ops(image, ops), tensor)
    assert normalization_of(ops) == normalization_from_vdsp(params)
    assert box == Letterbox.fit((height, width), (side, side))


@settings(deadline=None, max_examples=60)
@given(SIDE, SIDE, st.integers(1, 96), st.integers(1, 96))
def test_vdsp_letterbox_is_opencv_on_black(height, width, canvas_h, canvas_w):
    image = noise(height, width)
    params = replace(PARAMS, geometry=Geometry((canvas_h, canvas_w), (canvas_h, canvas_w), keep_aspect=True))
    canvas, box = to_canvas(image, params)
    (content_h, content_w), (left, top) = box.content_hw, box.offset_xy
    content = cv2.resize(image, (content_w, content_h), interpolation=cv2.INTER_LINEAR)
    bottom, right = canvas_h - top - content_h, canvas_w - left - content_w
    expected = cv2.copyMakeBorder(content, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    np.testing.assert_array_equal(canvas, expected)


@pytest.fixture
def load(tmp_path):
    def run(op_type, **keys):
        config = {
            "IimageFormat": "RGB_PLANAR",
            "ColorCvtCode": "RGB2BGR",
            "NormaType": "EQUAL",
            "ResizeType": "BILINEAR_CV",
        }
        data = {"OpType": f"FUSION_OP_RGB_{op_type}", "OpConfig": {**config, **keys}}
        (tmp_path / "v.json").write_text(json.dumps(data))
        return load_vdsp_params(tmp_path / "v.json")

    return run


def test_vdsp_resize_fills_the_canvas_and_scales_each_axis(load):
    image = noise(30, 50)
    canvas, box = to_canvas(image, load("RESIZE_CVTCOLOR_NORM_TENSOR", OimageWidth=80, OimageHeight=40))
    np.testing.assert_array_equal(canvas, cv2.resize(image, (80, 40)))
    assert box.to_source(np.array([80.0, 40.0])).tolist() == [50.0, 30.0]


def test_vdsp_crop_cuts_the_resized_image_and_leads_back(load):
    image = noise(60, 80)
    sizes = {"OimageWidth": 32, "OimageHeight": 16, "ResizeWidth": 80, "ResizeHeight": 60, "CropX": 7, "CropY": 9}
    canvas, box = to_canvas(image, load("RESIZE_CVTCOLOR_CROP_NORM_TENSOR", **sizes))
    np.testing.assert_array_equal(canvas, image[9:25, 7:39])
    assert box.to_source(np.array([0.0, 0.0])).tolist() == [7.0, 9.0]


def test_vdsp_letterbox_ext_pads_around_the_letterbox_with_its_fill(load):
    image = noise(20, 20)
    sizes = {"ResizeWidth": 40, "ResizeHeight": 20, "Padding": [10, 20, 30]}
    sizes |= {"PaddingLeft": 1, "PaddingTop": 2, "PaddingRight": 3, "PaddingBottom": 4}
    for source_order in ("BGR", "RGB"):
        params = load("LETTERBOX_CVTCOLOR_NORM_TENSOR_EXT", **sizes)
        canvas, box = to_canvas(image, params, source_order)
        assert canvas.shape == (26, 44, 3)
        expected = np.tile(np.array([30, 20, 10], np.uint8), (26, 44, 1))  # Padding is RGB here, the canvas BGR.
        expected[2:22, 11:31] = image if source_order == "BGR" else image[..., ::-1]
        np.testing.assert_array_equal(canvas, expected)
        assert box.to_source(np.array([11.0, 2.0])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("keep_aspect", [True, False])
@settings(deadline=None, max_examples=50)
@given(SIDE, SIDE, st.integers(-20, 20), st.integers(-20, 20), st.floats(0, 200), st.floats(0, 200))
def test_vdsp_letterbox_leads_to_the_canvas_and_back(keep_aspect, height, width, left, top, x, y):
    geometry = Geometry((90, 70), (50, 60), keep_aspect, (left, top))
    box = letterbox(replace(PARAMS, geometry=geometry), (height, width))
    point = np.array([x, y])
    np.testing.assert_allclose(box.to_source(box.to_canvas(point)), point, rtol=1e-5, atol=1e-2)


def test_process_ops_resize_short_covers_and_center_crop_cuts():
    image = noise(40, 100)
    ops = [DECODE, TO_BGR, Resize("Resize", (-1, 20), "short"), CenterCrop("CenterCrop", (16, 18)), TENSOR]
    expected = cv2.resize(image, (50, 20))[1:19, 17:33].transpose(2, 0, 1)
    np.testing.assert_array_equal(run_process_ops(image, ops), expected)


def test_process_ops_fit_in_a_box_that_is_not_square():
    image = noise(100, 100)
    ops = [DECODE, TO_BGR, Resize("Resize", (64, 32), "long"), Pad("Pad", size=(64, 32)), TENSOR]
    canvas = operations.lay_on_canvas(image, Letterbox.fit((100, 100), (32, 64)))
    np.testing.assert_array_equal(run_process_ops(image, ops), canvas.transpose(2, 0, 1))


def test_process_ops_without_normalize_keep_pixels_in_rgb():
    image = noise(8, 8)
    tensor = run_process_ops(image, [DECODE, TENSOR])
    np.testing.assert_array_equal(tensor, image[..., ::-1].transpose(2, 0, 1).astype(np.float32))
    assert normalization_of([DECODE, TENSOR]) == Normalization("RGB")


def test_process_ops_name_the_op_when_an_image_does_not_suit():
    with pytest.raises(ImageError, match=r"Pad to 8x8 does not suit an image of 9x4 px"):
        run_process_ops(noise(4, 9), [DECODE, Pad("Pad", size=(8, 8)), TENSOR])
    with pytest.raises(ImageError, match=r"CenterCrop to 4x5 does not suit an image of 9x4 px"):
        run_process_ops(noise(4, 9), [DECODE, CenterCrop("CenterCrop", (4, 5)), TENSOR])


def test_both_raise_when_pixels_are_not_three_bytes():
    gray = np.zeros((8, 8), np.uint8)
    with pytest.raises(ImageError, match="got an image of shape"):
        to_canvas(gray, PARAMS)
    with pytest.raises(ImageError, match="got an image of shape"):
        run_process_ops(gray, [DECODE, TENSOR])
