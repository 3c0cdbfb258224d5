"""What lies in the files, and every kind of damage."""

import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.core.errors import DataError
from facedeploy.detect.slots import Slots, empty_slots
from facedeploy.npz.files import read_image_npz, read_slots_npz, write_image_npz, write_slots_npz

IMAGE = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)


def some_slots(count=6):
    random = np.random.default_rng(1)
    return Slots(*(random.standard_normal((1, count, width)).astype(np.float32) for width in (1, 4, 10)))


def sentence(error):
    text = str(error.value)
    assert len(text.splitlines()) == 1
    return text


def test_image_is_stored_as_planes_in_rgb_and_comes_back(tmp_path):
    path = tmp_path / "an event" / "a.b é.npz"
    write_image_npz(path, IMAGE)
    with np.load(path) as archive:
        assert archive.files == ["input_0"]
        assert (archive["input_0"].dtype, archive["input_0"].shape) == (np.uint8, (3, 7, 5))
        np.testing.assert_array_equal(archive["input_0"][0], IMAGE[..., 2])
    np.testing.assert_array_equal(read_image_npz(path), IMAGE[..., ::-1])
    assert [file.name for file in path.parent.iterdir()] == ["a.b é.npz"]


@pytest.mark.parametrize("slots", [some_slots(), some_slots(0), empty_slots(1, 750), empty_slots(1, 9, points=0)])
def test_slots_come_back_to_the_bit(tmp_path, slots):
    write_slots_npz(tmp_path / "o.npz", slots)
    with np.load(tmp_path / "o.npz") as archive:
        assert archive.files == ["output_0", "output_1", "output_2"]
        assert [archive[name].shape[-1] for name in archive.files] == [part.shape[-1] for part in slots]
    for got, expected in zip(read_slots_npz(tmp_path / "o.npz"), slots, strict=True):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == np.float32


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (IMAGE, r"uint8\[7, 5, 3\]"),
        (IMAGE[None], r"uint8\[1, 7, 5, 3\]"),
        (np.zeros((3, 0, 4), np.uint8), r"uint8\[3, 0, 4\]"),
        (np.zeros((3, 4, 4), np.float32), r"float32\[3, 4, 4\]"),
        (np.uint8(3), r"uint8\[\]"),
    ],
)
def test_image_of_another_shape_or_type_is_an_error_that_says_both(tmp_path, array, got):
    np.savez(tmp_path / "i.npz", input_0=array)
    with pytest.raises(DataError, match=rf"i\.npz: input_0: got {got}, expected uint8\[3, height, width\]") as error:
        read_image_npz(tmp_path / "i.npz")
    sentence(error)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"output_1": np.zeros((1, 5, 4), np.float32)},
            r"output_1: got float32\[1, 5, 4\], expected float32\[1, 6, 4\]",
        ),
        (
            {"output_0": np.zeros((2, 6, 1), np.float32)},
            r"output_0: got float32\[2, 6, 1\], expected float32\[1, slots, 1\]",
        ),
        ({"output_0": np.zeros(6, np.float32)}, r"output_0: got float32\[6\]"),
        ({"output_2": np.zeros((1, 6, 10))}, r"output_2: got float64\[1, 6, 10\]"),
        ({"output_1": np.full((1, 6, 4), np.nan, np.float32)}, "output_1: got numbers that are not finite"),
    ],
)
def test_slots_of_another_shape_or_type_are_an_error_that_says_both(tmp_path, change, said):
    arrays = dict(zip(("output_0", "output_1", "output_2"), some_slots(), strict=True))
    np.savez(tmp_path / "o.npz", **{**arrays, **change})
    with pytest.raises(DataError, match=said) as error:
        read_slots_npz(tmp_path / "o.npz")
    sentence(error)


def test_missing_arrays_are_an_error_that_says_what_is_there(tmp_path):
    np.savez(tmp_path / "a.npz", output_0=IMAGE, other=IMAGE)
    with pytest.raises(DataError, match=r"has output_0, other, expected an npz file with output_0, output_1, output_2"):
        read_slots_npz(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    with pytest.raises(DataError, match="has nothing, expected an npz file with input_0"):
        read_image_npz(tmp_path / "empty.npz")


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


def test_objects_are_never_unpickled(tmp_path):
    objects = np.empty(3, object)
    objects[:] = [Bomb()] * 3
    np.savez(tmp_path / "o.npz", input_0=objects, allow_pickle=True)
    np.save(tmp_path / "array.npy", objects, allow_pickle=True)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Bomb()))
    for name in ("o.npz", "array.npy", "pickle.npz"):
        with pytest.raises(DataError) as error:
            read_image_npz(tmp_path / name)
        sentence(error)


def test_what_is_no_npz_is_one_sentence(tmp_path):
    np.save(tmp_path / "array.npy", IMAGE)
    (tmp_path / "empty.npz").touch()
    (tmp_path / "text.npz").write_text("hello\nworld")
    (tmp_path / "folder.npz").mkdir()
    for name, said in {
        "array.npy": "is a single array, expected an npz file with input_0",
        "empty.npz": "cannot be read",
        "text.npz": "cannot be read",
        "folder.npz": "cannot be read (Is a directory)",
        "nowhere.npz": "cannot be read (No such file or directory)",
    }.items():
        with pytest.raises(DataError) as error:
            read_image_npz(tmp_path / name)
        assert said in sentence(error)


def test_a_name_with_a_line_break_is_told_in_one_line(tmp_path):
    np.savez(tmp_path / "x.npz", **{"input\n0": IMAGE})
    with pytest.raises(DataError) as error:
        read_image_npz(tmp_path / "x.npz")
    assert r"has input\n0, expected" in sentence(error)


@settings(deadline=None, max_examples=300)
@given(data=st.data(), compressed=st.booleans())
def test_any_damage_is_one_sentence_or_harmless(tmp_path_factory, data, compressed):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    (np.savez_compressed if compressed else np.savez)(path, input_0=IMAGE.transpose(2, 0, 1))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), "cut"):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for position in data.draw(st.lists(st.integers(0, max(0, len(content) - 1)), max_size=5)) if content else []:
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        image = read_image_npz(path)
    except DataError as error:
        assert len(str(error).splitlines()) == 1
        assert str(error).startswith(f"{path}: ")
    else:
        assert image.dtype == np.uint8
        assert image.ndim == 3


@pytest.mark.parametrize(
    "write", [lambda path: write_image_npz(path, IMAGE), lambda path: write_slots_npz(path, some_slots())]
)
def test_file_that_cannot_be_written_is_one_sentence(tmp_path, write):
    (tmp_path / "taken").touch()
    (tmp_path / "folder.npz").mkdir()
    for path in (tmp_path / "taken" / "a.npz", tmp_path / "folder.npz"):
        with pytest.raises(DataError, match=r": cannot be written \(") as error:
            write(path)
        sentence(error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.npz", "taken"]
