"""npz files through an artifact, and back to source px."""

import cv2
import numpy as np
import pytest

from facedeploy.core.errors import DataError
from facedeploy.npz.datalist import NpzFile, read_datalist
from facedeploy.npz.decode import decode_slots
from facedeploy.npz.files import read_slots_npz, write_image_npz
from facedeploy.npz.stream import stream_npz
from facedeploy.runtime.face_detector import FaceDetector

NAMES = ["x/a", "x/b c", "y/a", "y/d.e", "y/é"]


@pytest.fixture(scope="module")
def detector(tiny_artifact):
    return FaceDetector.from_artifact(tiny_artifact.prefix, instances=2, decoders=2)


@pytest.fixture
def photos(tmp_path):
    random = np.random.default_rng(3)
    noise = [random.integers(0, 256, (6, 8, 3), np.uint8) for _ in NAMES]
    found = {
        name: cv2.resize(small, (40 + 30 * n, 150 - 20 * n), interpolation=cv2.INTER_CUBIC)
        for n, (name, small) in enumerate(zip(NAMES, noise, strict=True))
    }
    for name, image in found.items():
        write_image_npz(tmp_path / "npz" / f"{name}.npz", image)
    return found


@pytest.fixture
def entries(tmp_path, photos):
    (tmp_path / "l.txt").write_text("".join(f"{tmp_path}/npz/{name}.npz\n" for name in reversed(NAMES)))
    return read_datalist(tmp_path / "l.txt")


def test_outputs_lie_under_the_names_of_the_inputs_and_decode_to_the_same_detections(
    detector, entries, photos, tmp_path
):
    works = list(stream_npz(detector, entries, tmp_path / "out"))
    assert [work.name for work in works] == NAMES[::-1]
    assert not any(work.error for work in works)
    for entry in entries:
        slots = read_slots_npz(entry.output(tmp_path / "out"))
        assert [part.shape for part in slots] == [(1, 200, 1), (1, 200, 4), (1, 200, 10)]
        image = photos[entry.name]
        decoded, direct = decode_slots(entry.output(tmp_path / "out"), image, (96, 128)), detector.detect(image)
        assert len(decoded) == len(direct) > 0
        for name in ("boxes", "scores", "landmarks"):
            np.testing.assert_array_equal(getattr(decoded, name), getattr(direct, name))


def test_damaged_input_is_reported_and_the_rest_goes_on(detector, entries, tmp_path):
    entries[1].path.write_bytes(b"damaged")
    entries[3].path.unlink()
    works = list(stream_npz(detector, entries, tmp_path / "out"))
    assert [type(work.error) for work in works] == [type(None), DataError, type(None), DataError, type(None)]
    assert [entry.output(tmp_path / "out").exists() for entry in entries] == [True, False, True, False, True]


def test_output_that_cannot_be_written_ends_the_run_with_one_sentence(detector, entries, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(DataError, match=r"\.npz: cannot be written \(") as error:
        list(stream_npz(detector, entries, tmp_path / "out"))
    assert len(str(error.value).splitlines()) == 1


def test_inputs_are_never_overwritten_by_their_outputs(detector, entries, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "npz")
    for folder in (tmp_path / "npz", tmp_path / "link"):
        with pytest.raises(DataError, match="would be overwritten by its output: choose another folder"):
            stream_npz(detector, entries, folder)


def test_output_that_is_missing_or_damaged_is_an_error(tmp_path):
    entry = NpzFile("a", tmp_path / "a.npz")
    with pytest.raises(DataError, match="No such file"):
        decode_slots(entry.output(tmp_path), np.zeros((4, 4, 3), np.uint8), (96, 128))
