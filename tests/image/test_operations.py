import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.core.errors import ImageError
from facedeploy.core.letterbox import Letterbox
from facedeploy.core.normalization import Normalization
from facedeploy.image import operations
from facedeploy.image.opencv import cv2

SIDE = st.integers(1, 90)
SEED = st.integers(0, 2**16)
RESIZE_TYPES = ["BILINEAR_CV", "BILINEAR_PILLOW", "BILINEAR"]


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=60)
@given(SIDE, SIDE, SIDE, SIDE, SEED)
def test_bilinear_cv_is_opencv(height, width, new_height, new_width, seed):
    image = noise(height, width, seed)
    expected = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(operations.resize(image, (new_height, new_width)), expected)


@settings(deadline=None, max_examples=100)
@given(SIDE, SIDE, SIDE, SIDE, SEED)
def test_bilinear_pillow_is_pillow_to_the_bit(height, width, new_height, new_width, seed):
    pil = pytest.importorskip("PIL.Image")
    image = noise(height, width, seed)
    image[::3] = np.where(image[::3] > 127, 255, 0)  # Extremes, where a wrong rounding shows first.
    result = operations.resize(image, (new_height, new_width), "BILINEAR_PILLOW")
    # In two calls, because Pillow 13 resizes some shapes along y first.
    columns = pil.fromarray(image).resize((new_width, height), pil.Resampling.BILINEAR)
    expected = np.asarray(columns.resize((new_width, new_height), pil.Resampling.BILINEAR))
    np.testing.assert_array_equal(result, expected)
    at_once = np.asarray(pil.fromarray(image).resize((new_width, new_height), pil.Resampling.BILINEAR))
    assert np.abs(result.astype(int) - at_once).max() <= 1


@settings(deadline=None, max_examples=30)
@given(SIDE, SIDE, SIDE, SIDE, SEED)
def test_bilinear_samples_at_half_pixel_centers(height, width, new_height, new_width, seed):
    image = noise(height, width, seed)
    y, x = ((np.arange(new) + 0.5) * old / new - 0.5 for new, old in ((new_height, height), (new_width, width)))
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    top, left = y.astype(int), x.astype(int)
    below, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    dy, dx = (y - top)[:, None, None], (x - left)[None, :, None]
    rows = image[top] * (1 - dy) + image[below] * dy
    expected = rows[:, left] * (1 - dx) + rows[:, right] * dx
    result = operations.resize(image, (new_height, new_width), "BILINEAR")
    assert np.abs(result - expected).max() < 0.5 + 1e-2  # Rounded; cv2 computes in float32.


@settings(deadline=None, max_examples=100)
@given(SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, st.integers(-60, 60), st.integers(-60, 60), st.sampled_from(RESIZE_TYPES))
def test_lay_on_canvas_is_resize_and_place(height, width, content_h, content_w, canvas_h, canvas_w, x, y, resize_type):
    image, fill = noise(height, width), (1, 2, 3)
    box = Letterbox((height, width), (canvas_h, canvas_w), (content_h, content_w), (x, y))
    big = np.empty((canvas_h + 400, canvas_w + 400, 3), np.uint8)  # Room for any overhang: no clipping to get wrong.
    big[...] = fill
    big[200 + y : 200 + y + content_h, 200 + x : 200 + x + content_w] = operations.resize(
        image, (content_h, content_w), resize_type
    )
    canvas = operations.lay_on_canvas(image, box, fill, resize_type)
    np.testing.assert_array_equal(canvas, big[200 : 200 + canvas_h, 200 : 200 + canvas_w])


def test_lay_on_canvas_takes_read_only_and_strided_pixels():
    image = noise(30, 40)
    box = Letterbox.fit((30, 40), (64, 64))
    expected = operations.lay_on_canvas(image, box)
    planar = np.ascontiguousarray(image.transpose(2, 0, 1))
    planar.setflags(write=False)
    np.testing.assert_array_equal(operations.lay_on_canvas(planar.transpose(1, 2, 0), box), expected)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    np.testing.assert_array_equal(operations.lay_on_canvas(mirrored[:, ::-1], box), expected)


@pytest.mark.parametrize(
    ("size", "canvas", "expected"),
    [(3, 6, [0, 10, 11, 12, 0, 0]), (6, 3, [11, 12, 13]), (4, 6, [0, 10, 11, 12, 13, 0]), (3, 3, [10, 11, 12])],
)
def test_center_puts_the_odd_pixel_right_and_below(size, canvas, expected):
    line = np.repeat(np.arange(10, 10 + size, dtype=np.uint8), 3).reshape(size, 1, 3)
    assert operations.center(line, (canvas, 1))[:, 0, 0].tolist() == expected
    assert operations.center(line.swapaxes(0, 1), (1, canvas))[0, :, 2].tolist() == expected


MEAN, STD = (0.485, 104.0, 7.5), (0.229, 1.0, 128.0)


@pytest.mark.parametrize(
    ("norma_type", "formula"),
    [
        ("DIV255_MINUSMEAN_DIVSTD", lambda x, mean, std: (x / np.float32(255) - mean) / std),
        ("DIV255", lambda x, mean, std: x / np.float32(255)),
        ("MINUSMEAN_DIVSTD", lambda x, mean, std: (x - mean) / std),
        ("EQUAL", lambda x, mean, std: x),
        ("DIV1275_MINUSONE", lambda x, mean, std: x / np.float32(127.5) - np.float32(1)),
    ],
)
def test_normalize_is_the_formula_in_float32_to_the_bit(norma_type, formula):
    canvas = np.arange(256 * 3, dtype=np.uint16).astype(np.uint8).reshape(16, 16, 3)
    expected = formula(canvas.astype(np.float32), np.float32(MEAN), np.float32(STD)).transpose(2, 0, 1)
    tensor = operations.normalize(canvas, Normalization.of(norma_type, "RGB", MEAN, STD))
    np.testing.assert_array_equal(tensor, expected)
    assert (tensor.dtype, tensor.flags.c_contiguous) == (np.float32, True)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_check_pixels_raises_when_pixels_are_not_three_bytes(image):
    with pytest.raises(ImageError, match=r"expected \(height, width, 3\), uint8"):
        operations.check_pixels(image)
