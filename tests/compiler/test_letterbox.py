"""The compiled letterbox against OpenCV's resize, and numpy for where it lies."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import tvm
from hypothesis import example, given, settings
from hypothesis import strategies as st

from facedeploy.artifact.manifest import LETTERBOX
from facedeploy.compiler.kernels.byte_window import byte_window
from facedeploy.compiler.kernels.letterbox import letterbox
from facedeploy.compiler.pipeline import BUILT_KERNELS
from facedeploy.compiler.target import lacking_features, resolve_target

Kernel = Callable[..., None]


@pytest.fixture(scope="module", params=["x86-64-v4", "x86-64-v3"])
def kernel(request) -> Kernel:
    if lacking_features()[request.param]:
        pytest.skip(f"this CPU is no {request.param}")
    target = resolve_target(request.param)
    module = tvm.IRModule({LETTERBOX: letterbox(byte_window(target))})
    return tvm.tirx.build(module, target=target.tvm_target, pipeline=BUILT_KERNELS)[LETTERBOX]


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
@settings(max_examples=150, deadline=None)
def test_equals_opencv_to_the_bit(kernel, source_hw, canvas_hw, content_hw, top_left, swap, fill, extreme):
    rng = np.random.default_rng(sum(source_hw))
    image = rng.integers(0, 256, (*source_hw, 3), np.uint8)
    if extreme:
        image = np.where(image > 127, 255, 0).astype(np.uint8)
    canvas = np.full((*canvas_hw, 3), 77, np.uint8)
    guarded = np.full((canvas.size + 256,), 99, np.uint8)  # Nothing is written beside the canvas.
    canvas = guarded[128:-128].reshape(canvas.shape)
    kernel(image, canvas, *content_hw, *top_left, int(swap), *fill)
    np.testing.assert_array_equal(canvas, laid(image, canvas_hw, content_hw, top_left, swap, fill))
    assert (guarded[:128] == 99).all()
    assert (guarded[-128:] == 99).all()


@pytest.mark.parametrize(("name", "has"), [("x86-64-v4", True), ("x86-64-v3", True), ("x86-64-v2", False)])
def test_levels_that_have_it(name, has):
    assert (byte_window(resolve_target(name)) is not None) == has
