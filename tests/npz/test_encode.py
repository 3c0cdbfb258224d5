"""Images -> npz files and their list."""

import cv2
import numpy as np
import pytest

from facedeploy.core.errors import DataError, ImageError
from facedeploy.image.dataset import list_images
from facedeploy.npz.datalist import read_datalist
from facedeploy.npz.encode import encode_images
from facedeploy.npz.files import read_image_npz


@pytest.fixture
def photos(tmp_path):
    """Names that are easy to get wrong, and one file that is no image."""
    random = np.random.default_rng(0)
    for number, name in enumerate(["0--Parade/a b", "0--Parade/a.b", "1--Handshaking/a b", "ü/é.x"]):
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", random.integers(0, 256, (5 + number, 8, 3), np.uint8))[1].tobytes())
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no image")
    return tmp_path / "photos"


def test_images_are_written_under_their_names_and_listed_in_order(photos, tmp_path):
    images = list_images(photos)
    done = list(encode_images(images, tmp_path / "npz", tmp_path / "lists" / "l.txt"))
    assert [image for image, _ in done] == images
    (failed,) = [(image.name, error) for image, error in done if error]
    assert failed[0] == "broken"
    assert isinstance(failed[1], ImageError)
    entries = read_datalist(tmp_path / "lists" / "l.txt")
    assert [entry.name for entry in entries] == ["0--Parade/a b", "0--Parade/a.b", "1--Handshaking/a b", "ü/é.x"]
    for entry in entries:
        expected = cv2.imdecode(np.fromfile(photos / f"{entry.name}.png", np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(read_image_npz(entry.path)[..., ::-1], expected)


def test_target_with_a_line_break_is_refused_before_anything_is_written(photos, tmp_path):
    with pytest.raises(DataError, match="line break"):
        list(encode_images(list_images(photos), tmp_path / "a\nb", tmp_path / "l.txt"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


@pytest.mark.parametrize("taken", ["npz", "l.txt"])
def test_target_that_cannot_be_written_ends_the_run_with_one_sentence(photos, tmp_path, taken):
    (tmp_path / "npz").touch() if taken == "npz" else (tmp_path / "l.txt").mkdir()
    with pytest.raises(DataError, match="cannot be written") as error:
        list(encode_images(list_images(photos), tmp_path / "npz", tmp_path / "l.txt"))
    assert len(str(error.value).splitlines()) == 1
