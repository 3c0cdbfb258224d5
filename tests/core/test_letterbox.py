import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.core.letterbox import Letterbox

SIDE = st.integers(1, 4000)


@pytest.mark.parametrize(
    ("source_hw", "canvas_hw", "content_hw", "offset_xy"),
    [
        ((768, 1024), (640, 640), (480, 640), (0, 80)),
        ((1024, 768), (640, 640), (640, 480), (80, 0)),
        ((640, 640), (640, 640), (640, 640), (0, 0)),
        ((100, 200), (640, 640), (320, 640), (0, 160)),
        ((754, 1024), (640, 640), (471, 640), (0, 84)),  # An odd rest: the pixel goes below.
        ((5, 8), (4, 4), (2, 4), (0, 1)),  # 2.5 rounds to even.
        ((7, 8), (4, 4), (4, 4), (0, 0)),  # 3.5 rounds to even.
        ((1, 5000), (640, 640), (1, 640), (0, 319)),
        ((600, 600), (896, 1280), (896, 896), (192, 0)),
    ],
)
def test_fit_gives_known_geometry(source_hw, canvas_hw, content_hw, offset_xy):
    assert Letterbox.fit(source_hw, canvas_hw) == Letterbox(source_hw, canvas_hw, content_hw, offset_xy)


@settings(deadline=None)
@given(SIDE, SIDE, SIDE, SIDE)
def test_content_lies_on_canvas_centered_and_touches_two_edges(height, width, canvas_height, canvas_width):
    box = Letterbox.fit((height, width), (canvas_height, canvas_width))
    rest = canvas_width - box.content_hw[1], canvas_height - box.content_hw[0]
    assert min(rest) == 0
    for before, both in zip(box.offset_xy, rest, strict=True):
        assert 0 <= both - 2 * before <= 1


@settings(deadline=None)
@given(SIDE, SIDE, SIDE, SIDE, st.lists(st.tuples(*[st.floats(-50, 4050)] * 4), max_size=4))
def test_to_source_inverts_to_canvas(height, width, canvas_height, canvas_width, boxes):
    box = Letterbox.fit((height, width), (canvas_height, canvas_width))
    given_xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    # float32 rounds a canvas coordinate by up to 2**-12 px; back in the source that grows with the scale.
    tolerance = 1e-3 * max(1.0, height / box.content_hw[0], width / box.content_hw[1])
    np.testing.assert_allclose(box.to_source(box.to_canvas(given_xyxy)), given_xyxy, rtol=1e-5, atol=tolerance)


def test_to_source_takes_landmarks_and_scales_each_axis_by_itself():
    box = Letterbox.fit((100, 199), (64, 64))
    assert box.content_hw == (32, 64)
    landmarks = np.array([[64.0, 48.0] * 5], np.float32)
    assert box.to_source(landmarks).tolist() == [[199.0, 100.0] * 5]


def test_to_source_adds_the_crop_when_offset_is_negative():
    box = Letterbox((100, 100), (40, 40), (100, 100), (-30, -20))
    assert box.to_source(np.array([0.0, 0.0])).tolist() == [30.0, 20.0]


def test_to_source_rounds_once_from_float64():
    random = np.random.default_rng(0)
    for source_hw in [(683, 1024), (1385, 1024), (480, 640), (3, 4000)]:
        box = Letterbox.fit(source_hw, (640, 640))
        points = random.uniform(-50, 700, (40, 10)).astype(np.float32)
        kept = points.copy()
        scale = [source / content for source, content in zip(source_hw[::-1], box.content_hw[::-1], strict=True)]
        expected = [
            [np.float32((float(value) - box.offset_xy[i % 2]) * scale[i % 2]) for i, value in enumerate(row)]
            for row in points
        ]
        np.testing.assert_array_equal(box.to_source(points), np.array(expected, np.float32))
        np.testing.assert_array_equal(points, kept)
