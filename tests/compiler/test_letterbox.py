"""The compiled letterbox against OpenCV's resize, and numpy for where it lies and what becomes of it."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import tvm
from hypothesis import example, given, settings
from hypothesis import strategies as st

from facedeploy.compiler.kernels.byte_window import byte_window
from facedeploy.compiler.kernels.canvas_rows import FloatRows, IntegerRows
from facedeploy.compiler.kernels.letterbox import letterbox
from facedeploy.compiler.pipeline import BUILT_KERNELS
from facedeploy.compiler.target import Target, lacking_features, resolve_target
from facedeploy.core.normalization import Normalization
from facedeploy.image import operations

Kernel = Callable[..., None]
ZERO = (104, 117, 123, 0)
LEVELS = ["x86-64-v4", "x86-64-v3"]


@pytest.fixture(scope="module", params=LEVELS)
def level(request) -> Target:
    if lacking_features()[request.param]:
        pytest.skip(f"this CPU is no {request.param}")
    return resolve_target(request.param)


def built(level: Target, rows) -> Kernel:
    module = tvm.IRModule({"laid": letterbox("laid", byte_window(level), rows)})
    return tvm.tirx.build(module, target=level.tvm_target, pipeline=BUILT_KERNELS)["laid"]


@pytest.fixture(scope="module", params=[0, 1, 3])
def integers(request, level) -> tuple[int, Kernel]:
    return request.param, built(level, IntegerRows(request.param, ZERO))


@pytest.fixture(scope="module")
def floats(level) -> Kernel:
    return built(level, FloatRows())


def laid(image: np.ndarray, canvas_hw, content_hw, top_left, swap, fill) -> np.ndarray:
    canvas = np.full((*canvas_hw, 3), fill, np.uint8)
    content = cv2.resize(image, content_hw[::-1], interpolation=cv2.INTER_LINEAR)
    if swap:
        content = content[..., ::-1]
    top, left = top_left
    height, width = content_hw
    window = canvas[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
    window[...] = content[max(0, -top) :, max(0, -left) :][: window.shape[0], : window.shape[1]]
    return canvas


side = st.one_of(st.integers(1, 8), st.integers(1, 300))
hw = st.tuples(side, side)
byte = st.integers(0, 255)


@given(
    source_hw=hw,
    canvas_hw=hw,
    content_hw=hw,
    top_left=st.tuples(st.integers(-120, 320), st.integers(-120, 320)),
    swap=st.booleans(),
    fill=st.tuples(byte, byte, byte),
    extreme=st.booleans(),
)
@example((683, 1024), (640, 640), (427, 640), (106, 0), False, (0, 0, 0), False)
@example((480, 640), (640, 640), (480, 640), (80, 0), True, (104, 117, 123), False)  # Not resized.
@example((200, 300), (100, 150), (100, 150), (0, 0), False, (0, 0, 0), True)  # Half: OpenCV averages areas.
@example((1, 20000), (64, 64), (1, 64), (31, 0), False, (0, 0, 0), False)
@example((20000, 1), (64, 64), (64, 1), (0, 31), True, (0, 0, 0), True)
@example((3, 8000), (4, 20000), (4, 20000), (0, 0), False, (0, 0, 0), True)
@example((3, 4000), (2, 640), (2, 640), (0, 0), True, (0, 0, 0), False)
@settings(max_examples=60, deadline=None)
def test_integers_are_opencv_s_pixels(integers, source_hw, canvas_hw, content_hw, top_left, swap, fill, extreme):
    halo, kernel = integers
    image = picture(source_hw, extreme)
    canvas = laid(image, canvas_hw, content_hw, top_left, swap, fill)
    expected = np.full((canvas_hw[0] + 2 * halo, canvas_hw[1] + 2 * halo, 4), ZERO, np.uint8)
    inner = expected[halo : halo + canvas_hw[0], halo : halo + canvas_hw[1]]
    inner[..., :3], inner[..., 3] = canvas, 0
    memory, tensor = guarded((3, 1, *expected.shape), np.uint8)
    kernel(image, tensor, 1, *content_hw, *top_left, int(swap), *fill)
    np.testing.assert_array_equal(tensor[1, 0], expected)
    tensor[1] = GUARD
    assert (memory == GUARD).all()  # Nothing else is written.


TRIPLES = st.tuples(*[st.floats(-300, 300, width=32)] * 3)
POSITIVE = st.tuples(*[st.floats(0.015625, 300, width=32)] * 3)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@given(source_hw=hw, canvas_hw=hw, mean=TRIPLES, std=POSITIVE, scale=st.sampled_from([1.0, 2.0, 3.0, 127.5, 255.0]))
@example((16, 17), (16, 17), (104.0, 117.0, 123.0), (1.0, 1.0, 1.0), 1.0)
@example((16, 17), (16, 17), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1.0)
@example((90, 160), (40, 50), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), 127.5)
@example((90, 160), (100, 77), (104.0, 117.0, 123.0), (1.0, 2.0, 1.0), 1.0)
@example((64, 256), (64, 256), *IMAGENET, 255.0)
@settings(max_examples=40, deadline=None)
def test_floats_are_opencv_s_pixels_normalized_by_numpy(floats, source_hw, canvas_hw, mean, std, scale):
    image = picture(source_hw)
    flat = image.reshape(-1)  # Every byte, in an image that is large enough.
    flat[: min(flat.size, 256)] = np.arange(256)[: flat.size]
    geometry = canvas_hw, canvas_hw, (0, 0), True, (0, 0, 0)
    expected = operations.normalize(laid(image, *geometry), Normalization("BGR", mean, std, scale))
    memory, tensor = guarded((2, 3, *canvas_hw), np.float32)
    floats(image, tensor, 1, *canvas_hw, 0, 0, 1, 0, 0, 0, scale, *mean, *std)
    np.testing.assert_array_equal(tensor[1].view(np.uint32), expected.view(np.uint32))
    tensor[1] = GUARD
    assert (memory == GUARD).all()


GUARD = 99


def guarded(shape, dtype) -> tuple[np.ndarray, np.ndarray]:
    """Memory of GUARDs, and a tensor in its middle, where compiled code may have it."""
    memory = np.full(np.prod(shape) + 256, GUARD, dtype)
    start = 64 + (-memory.ctypes.data // memory.itemsize) % 64
    return memory, memory[start : start + np.prod(shape)].reshape(shape)


def picture(source_hw, extreme=False) -> np.ndarray:
    image = np.random.default_rng(sum(source_hw)).integers(0, 256, (*source_hw, 3), np.uint8)
    return np.where(image > 127, 255, 0).astype(np.uint8) if extreme else image


@pytest.mark.parametrize(("name", "has"), [("x86-64-v4", True), ("x86-64-v3", True), ("x86-64-v2", False)])
def test_levels_that_have_it(name, has):
    assert (byte_window(resolve_target(name)) is not None) == has
