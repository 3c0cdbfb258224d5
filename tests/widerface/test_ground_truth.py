import numpy as np
import pytest
from scipy.io import loadmat, savemat

from facedeploy.core import requirement
from facedeploy.core.errors import DataError, DependencyError
from facedeploy.widerface.ground_truth import (
    DIFFICULTY_FILES,
    FACE_FILE,
    GROUND_TRUTH_FILES,
    load_ground_truth,
    write_ground_truth,
)

BOXES = {
    "0--Parade/a": [[1, 2, 3, 4], [5.5, 6, 7, 8]],
    "1--Handshaking/b": np.array([[9, 10, 11, 12]]),
    "0--Parade/c": [],
}


@pytest.fixture
def folder(tmp_path):
    write_ground_truth(tmp_path, BOXES, easy={"0--Parade/a": [1]}, medium={"0--Parade/a": [1, 0]}, hard={})
    return tmp_path


def test_written_files_read_back(folder):
    assert {path.name for path in folder.iterdir()} == set(GROUND_TRUTH_FILES)
    images = load_ground_truth(folder)
    assert [image.name for image in images] == ["0--Parade/a", "0--Parade/c", "1--Handshaking/b"]
    assert [image.event for image in images] == ["0--Parade", "0--Parade", "1--Handshaking"]
    for image in images:
        np.testing.assert_array_equal(image.boxes_xywh, np.reshape(BOXES[image.name], (-1, 4)))
    assert images[0].counted.tolist() == [[False, True], [True, True], [False, False]]
    assert images[1].counted.shape == (3, 0)
    assert images[2].counted.tolist() == [[False]] * 3


def test_official_files_have_the_published_counts(shared_data):
    images = load_ground_truth(shared_data / "data" / "ground_truth_full")
    assert len(images) == 3226
    assert len({image.event for image in images}) == 61
    assert sum(image.counted.sum(axis=1) for image in images).tolist() == [7211, 13319, 31958]


@pytest.mark.parametrize("name", ["a", "a/b/c", "/b", "a/"])
def test_writing_refuses_a_name_that_is_not_event_and_image(tmp_path, name):
    with pytest.raises(ValueError, match="expected <event>/<image>"):
        write_ground_truth(tmp_path, {name: []}, easy={}, medium={}, hard={})


def test_writing_refuses_faces_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"hard: e/i: got index 1, expected 0\.\.0"):
        write_ground_truth(tmp_path, {"e/i": [[0, 0, 1, 1]]}, easy={}, medium={}, hard={"e/i": [1]})
    with pytest.raises(ValueError, match="easy: no boxes are given for e/x"):
        write_ground_truth(tmp_path, {"e/i": [[0, 0, 1, 1]]}, easy={"e/x": []}, medium={}, hard={})


def test_missing_files_are_named_together(folder):
    (folder / "wider_easy_val.mat").unlink()
    (folder / "wider_hard_val.mat").unlink()
    with pytest.raises(DataError, match=r"wider_easy_val\.mat, wider_hard_val\.mat not found.*eval_tools\.zip"):
        load_ground_truth(folder)


@pytest.mark.parametrize("name", GROUND_TRUTH_FILES)
def test_damaged_file_is_one_sentence(folder, name):
    content = (folder / name).read_bytes()
    flipped = bytearray(content)
    flipped[200:260] = bytes(255 - byte for byte in flipped[200:260])
    for damaged in (b"", b"not a mat file", content[:100], content[:300], content[: len(content) // 2], bytes(flipped)):
        (folder / name).write_bytes(damaged)
        with pytest.raises(DataError, match=name) as caught:
            load_ground_truth(folder)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", GROUND_TRUTH_FILES)
def test_file_without_its_lists_is_one_sentence(folder, name):
    savemat(folder / name, {"other": 1})
    with pytest.raises(DataError, match=rf"{name}: has no \w+_list"):
        load_ground_truth(folder)
    savemat(folder / name, {"event_list": 1, "file_list": "x", "face_bbx_list": 2.5, "gt_list": {"a": 1}})
    with pytest.raises(DataError, match=f"{name}: damaged"):
        load_ground_truth(folder)


def test_files_of_different_sets_are_told_apart(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write_ground_truth(other, {"e/i": [[0, 0, 1, 1]]}, easy={}, medium={}, hard={})
    (other / "wider_medium_val.mat").rename(folder / "wider_medium_val.mat")
    with pytest.raises(DataError, match=r"wider_medium_val\.mat: damaged, or not of one set.*1 images.*3 in 2"):
        load_ground_truth(folder)


def test_face_index_out_of_range_is_one_sentence(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    boxes = {name: [[0, 0, 1, 1]] * 3 for name in BOXES}
    write_ground_truth(other, boxes, easy={"0--Parade/a": [2]}, medium={}, hard={})
    (other / "wider_easy_val.mat").rename(folder / "wider_easy_val.mat")
    with pytest.raises(DataError, match="counts a face that is not among the 2"):
        load_ground_truth(folder)


@pytest.mark.parametrize(
    "cell", [np.ones((2, 4)) * 1j, np.array([["1", "2"]]), np.array([[np.nan]]), np.array([[1.5]])]
)
@pytest.mark.filterwarnings("error")
def test_cell_that_holds_no_such_numbers_is_one_sentence(folder, cell):
    for name, key in ((FACE_FILE, "face_bbx_list"), (DIFFICULTY_FILES["hard"], "gt_list")):
        content = loadmat(folder / name)
        content[key][0, 0][0, 0] = cell
        savemat(folder / name, {each: value for each, value in content.items() if not each.startswith("__")})
        with pytest.raises(DataError, match=f"{name}: damaged") as caught:
            load_ground_truth(folder)
        assert len(str(caught.value).splitlines()) == 1
        write_ground_truth(folder, BOXES, easy={}, medium={}, hard={})


def test_set_without_images_is_one_sentence(tmp_path):
    write_ground_truth(tmp_path, {}, easy={}, medium={}, hard={})
    with pytest.raises(DataError, match="0 images"):
        load_ground_truth(tmp_path)


def test_missing_scipy_is_one_sentence(folder, monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(requirement.importlib, "import_module", absent)
    with pytest.raises(DependencyError, match=r"facedeploy\[eval\]"):
        load_ground_truth(folder)
