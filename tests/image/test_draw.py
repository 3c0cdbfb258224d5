"""Pictures of detections."""

import cv2
import numpy as np
import pytest

from facedeploy.core.detections import Detections
from facedeploy.core.errors import DataError, ImageError
from facedeploy.image.draw import draw_detections, write_image


def face(x1, y1, x2, y2, score=0.9):
    box = np.array([[x1, y1, x2, y2]], np.float32)
    middle = np.full((1, 5, 2), ((x1 + x2) / 2, (y1 + y2) / 2), np.float32)
    return Detections(box, np.array([score], np.float32), middle)


@pytest.fixture
def gray():
    return np.full((80, 100, 3), 128, np.uint8)


def test_box_and_landmarks_are_drawn_on_a_copy(gray):
    picture = draw_detections(gray, face(20, 30, 60, 70))
    assert (gray == 128).all()
    assert picture.shape == gray.shape
    for x, y in ((20, 40), (60, 40), (40, 30), (40, 70)):
        assert tuple(picture[y, x]) == (0, 220, 0)
    assert tuple(picture[50, 40]) == (255, 0, 0)
    assert tuple(picture[75, 90]) == (128, 128, 128)


def test_faces_below_the_threshold_are_left_out(gray):
    np.testing.assert_array_equal(draw_detections(gray, face(20, 30, 60, 70, score=0.4)), gray)
    assert (draw_detections(gray, face(20, 30, 60, 70, score=0.4), 0.4) != gray).any()
    np.testing.assert_array_equal(draw_detections(gray, Detections.empty()), gray)


@pytest.mark.parametrize("far", [1e4, 1e9, 5e9, 3e38])
def test_faces_far_outside_are_drawn_as_far_as_they_are_seen(gray, far):
    picture = draw_detections(gray, face(-far, 30, far, far))
    assert tuple(picture[30, 50]) == (0, 220, 0)


def test_picture_is_written_in_the_format_of_the_suffix(gray, tmp_path):
    for suffix, start in ((".png", b"\x89PNG"), (".jpg", b"\xff\xd8")):
        path = tmp_path / "new folder" / f"a.b{suffix}"
        write_image(path, gray)
        assert path.read_bytes().startswith(start)
        assert np.abs(cv2.imread(str(path)).astype(int) - gray).max() <= 2
    assert sorted(path.name for path in path.parent.iterdir()) == ["a.b.jpg", "a.b.png"]


@pytest.mark.parametrize("suffix", ["", ".nothing"])
def test_unknown_format_is_one_sentence(gray, tmp_path, suffix):
    with pytest.raises(ImageError, match="cannot be encoded as"):
        write_image(tmp_path / f"a{suffix}", gray)
    assert not list(tmp_path.iterdir())


def test_picture_that_cannot_be_written_is_one_sentence(gray, tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(DataError, match=r"a\.jpg: cannot be written \(.*\)"):
        write_image(tmp_path / "taken" / "a.jpg", gray)
