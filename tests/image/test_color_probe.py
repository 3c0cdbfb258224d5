"""One image of pure colors, three ways to the tensor: what calibration sees, run time gives, and plain numpy says."""

from dataclasses import replace

import numpy as np
import pytest

from facedeploy.config.load import load_build_config
from facedeploy.config.process_ops import CvtColor, Normalize, Resize
from facedeploy.config.shipped import find_config
from facedeploy.config.vdsp_params import load_vdsp_params
from facedeploy.image import operations
from facedeploy.image.decode import read_image
from facedeploy.image.opencv import cv2
from facedeploy.image.process_ops import normalization_of, run_process_ops
from facedeploy.image.vdsp import normalization_from_vdsp, normalize, preprocess, to_canvas

MEAN_BGR = np.array([104, 117, 123], np.float32)
MODELS = ["mobilenet0.25", "resnet50"]


@pytest.fixture(scope="module")
def rgb():
    """960x1280 (height x width), gray, with a red, a green and a blue block that share no row, column or size."""
    image = np.full((960, 1280, 3), 90, np.uint8)
    image[40:200, 100:140] = (255, 0, 0)
    image[300:380, 600:900] = (0, 255, 0)
    image[700:940, 1000:1270] = (0, 0, 255)
    return image


@pytest.fixture(scope="module")
def file(rgb, tmp_path_factory):
    path = tmp_path_factory.mktemp("probe") / "probe.png"
    cv2.imwrite(str(path), rgb[..., ::-1])
    return path


@pytest.fixture(scope="module")
def expected(rgb):
    """By hand: half the size (edges of blocks are even, so no pixel mixes two), 80 px above and below, BGR, mean."""
    canvas = np.zeros((640, 640, 3), np.uint8)
    canvas[80:560] = rgb[::2, ::2]
    tensor = canvas[..., ::-1].astype(np.float32) - MEAN_BGR
    return tensor.transpose(2, 0, 1)


@pytest.fixture(scope="module", params=MODELS)
def ops(request):
    return load_build_config(find_config(f"build_in/build/{request.param}_fp32.yaml").path).dataset.process_ops


@pytest.fixture(scope="module", params=MODELS)
def params(request):
    return load_vdsp_params(find_config(f"vdsp_params/official-retinaface_{request.param}-vdsp_params.json").path)


def edited(ops, kind, **changes):
    return [replace(op, **changes) if isinstance(op, kind) else op for op in ops]


def test_calibration_sees_what_numpy_says(file, ops, expected):
    np.testing.assert_array_equal(run_process_ops(file, ops), expected)


def test_run_time_gives_what_numpy_says_from_file_and_from_pixels_of_either_order(file, rgb, params, expected):
    np.testing.assert_array_equal(preprocess(read_image(file), params)[0], expected)
    np.testing.assert_array_equal(preprocess(rgb, params, "RGB")[0], expected)
    canvas, _ = to_canvas(rgb, params, "RGB")
    assert canvas.dtype == np.uint8
    np.testing.assert_array_equal(normalize(canvas, params), expected)


def test_letterbox_leads_the_blocks_back_to_the_source(file, params, expected):
    tensor, box = preprocess(read_image(file), params)
    for plane, corners in ((tensor[2], (100, 40, 140, 200)), (tensor[0], (1000, 700, 1270, 940))):
        rows, columns = np.nonzero(plane == plane.max())
        block = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert box.to_source(block).tolist() == list(corners)


def test_both_sides_state_the_same_normalization(ops, params):
    assert normalization_of(ops) == normalization_from_vdsp(params)


def test_probe_fails_when_channels_are_swapped(file, rgb, ops, params, expected):
    without_conversion = [op for op in ops if not isinstance(op, CvtColor)]
    assert not np.array_equal(run_process_ops(file, without_conversion), expected)
    assert not np.array_equal(preprocess(rgb, replace(params, color_order="RGB"), "RGB")[0], expected)
    assert not np.array_equal(preprocess(rgb, params, "BGR")[0], expected)


def test_probe_fails_when_the_mean_is_reversed(file, ops, params, expected):
    mean = (123.0, 117.0, 104.0)
    assert not np.array_equal(run_process_ops(file, edited(ops, Normalize, mean=mean)), expected)
    assert not np.array_equal(preprocess(read_image(file), replace(params, mean=mean))[0], expected)


@pytest.mark.parametrize("top", [0, 79, 81, 160])
def test_probe_fails_when_padding_goes_elsewhere(file, ops, params, expected, top, monkeypatch):
    moved = replace(params, geometry=replace(params.geometry, origin_xy=(0, top - 80)))
    assert not np.array_equal(preprocess(read_image(file), moved)[0], expected)
    monkeypatch.setattr(operations, "center", lambda image, hw, fill: operations.place(image, hw, (0, top), fill))
    assert not np.array_equal(run_process_ops(file, ops), expected)


def test_probe_fails_when_aspect_is_lost_or_padding_is_not_black(file, ops, params, expected):
    stretched = edited(ops, Resize, size=(640, 640), adaptive_side=None)
    assert not np.array_equal(run_process_ops(file, stretched), expected)
    assert not np.array_equal(preprocess(read_image(file), replace(params, fill=(104, 117, 123)))[0], expected)
