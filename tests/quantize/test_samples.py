"""Which images a dataset means, and which it must not."""

import cv2
import numpy as np
import pytest

from facedeploy.config.build_config import Dataset, Sampler
from facedeploy.config.process_ops import CvtColor, DecodeImage, Normalize, ToTensor
from facedeploy.core.errors import DataError
from facedeploy.image.dataset import list_images
from facedeploy.quantize.samples import CalibrationSet, calibration_set, refuse_evaluation_images

OPS = (
    DecodeImage("DecodeImage"),
    CvtColor("CvtColor", "COLOR_RGB2BGR"),
    Normalize("Normalize", norm_type="MINUSMEAN_DIVSTD", mean=(1.0, 2.0, 3.0), std=(1.0, 1.0, 1.0)),
    ToTensor("ToTensor"),
)


def write_images(folder, count, suffix="png", shift=0):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image = np.full((4, 6, 3), index + shift, np.uint8)
        assert cv2.imwrite(str(folder / f"{index:03}.{suffix}"), image)
    return folder


def dataset(path, count, suffix="png", ops=OPS):
    return Dataset(ops, path=str(path), sampler=Sampler(suffix, count))


def names(samples):
    return [file.name for file in samples.files]


def test_images_are_spread_over_the_folder_in_order(tmp_path):
    write_images(tmp_path, 20)
    assert names(calibration_set(dataset(tmp_path, 5))) == ["000", "004", "008", "012", "016"]
    assert names(calibration_set(dataset(tmp_path, 20))) == [f"{index:03}" for index in range(20)]


def test_sample_is_what_process_ops_make_of_it(tmp_path):
    samples = calibration_set(dataset(write_images(tmp_path, 3), 3))
    assert len(samples) == 3
    np.testing.assert_array_equal(samples[2], np.float32([1, 0, -1]).reshape(3, 1, 1) * np.ones((3, 4, 6), np.float32))


@pytest.mark.parametrize("suffix", ["jpg", ".jpg", "JPG"])
def test_only_images_with_the_suffix_are_taken(tmp_path, suffix):
    write_images(tmp_path, 3)
    write_images(tmp_path / "more", 2, "jpg")
    assert names(calibration_set(dataset(tmp_path, 10, suffix))) == ["more/000", "more/001"]


def test_no_image_with_the_suffix_is_one_sentence(tmp_path):
    write_images(tmp_path, 3)
    with pytest.raises(DataError, match=r"^dataset\.sampler\.suffix: got jpg, none of the 3 images .* end in png$"):
        calibration_set(dataset(tmp_path, 10, "jpg"))


@pytest.mark.parametrize(("there", "wanted", "said"), [(60, 50, []), (60, 49, ["few"]), (60, 70, ["has 60"])])
def test_few_images_are_noted(tmp_path, there, wanted, said):
    heard = []
    calibration_set(dataset(write_images(tmp_path, there), wanted), heard.append)
    assert len(heard) == len(said)
    assert all(word in line for word, line in zip(said, heard, strict=True))


def test_few_and_fewer_than_asked_for_are_two_notes(tmp_path):
    heard = []
    calibration_set(dataset(write_images(tmp_path, 3), 50), heard.append)
    assert [line.split(":")[0] for line in heard] == ["dataset.sampler.get_data_num", "dataset.sampler"]


def test_hash_is_of_content_order_and_preparation_and_not_of_place(tmp_path):
    base = calibration_set(dataset(write_images(tmp_path / "a", 3), 3))
    moved = calibration_set(dataset(write_images(tmp_path / "b", 3), 3))
    others = [
        calibration_set(dataset(write_images(tmp_path / "c", 3, shift=1), 3)),
        calibration_set(dataset(tmp_path / "a", 2)),
        CalibrationSet(base.files[::-1], OPS),
        CalibrationSet(base.files, (OPS[0], *OPS[2:])),
    ]
    assert base.content_hash() == moved.content_hash()
    assert len({samples.content_hash() for samples in (base, *others)}) == 5


def test_evaluation_image_is_refused_under_any_name(tmp_path):
    samples = calibration_set(dataset(write_images(tmp_path / "calibration", 4), 4))
    evaluation = write_images(tmp_path / "evaluation", 3, shift=100)
    refuse_evaluation_images(samples, list_images(evaluation))
    (evaluation / "renamed.png").write_bytes((tmp_path / "calibration/002.png").read_bytes())
    with pytest.raises(DataError, match=r"^dataset\.path: 1 of the 4 calibration images .*002\.png .*renamed\.png"):
        refuse_evaluation_images(samples, list_images(evaluation))
