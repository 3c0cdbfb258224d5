"""Outputs and images are found by name, never by order."""

import random
from pathlib import Path

import pytest

from facedeploy.core.errors import DataError
from facedeploy.image.dataset import ImageFile
from facedeploy.npz.datalist import NpzFile, pair_with_images, read_datalist

NAMES = ["0--Parade/a b", "0--Parade/a.b", "0--Parade/same", "1--Handshaking/same", "2--Demonstration/é", "top"]


def write_list(path, files):
    path.write_text("".join(f"{file}\n" for file in files))
    return path


def images(*names):
    return [ImageFile(name, Path("/photos") / f"{name}.jpg") for name in names]


def paired(entries, found):
    return {str(entry.path): image.name for entry, image in pair_with_images(entries, found)}


def test_names_are_below_the_folder_that_all_share(tmp_path):
    entries = read_datalist(write_list(tmp_path / "l.txt", [tmp_path / "npz" / f"{name}.npz" for name in NAMES]))
    assert [entry.name for entry in entries] == NAMES
    assert entries[1].output(Path("out")) == Path("out/0--Parade/a.b.npz")


def test_pairing_is_by_name_when_the_list_is_shuffled(tmp_path):
    files = [tmp_path / "npz" / f"{name}.npz" for name in NAMES]
    photos = images(*NAMES)
    for seed in range(5):
        random.Random(seed).shuffle(files)
        random.Random(seed + 100).shuffle(photos)
        entries = read_datalist(write_list(tmp_path / "l.txt", files))
        assert paired(entries, photos) == {str(tmp_path / "npz" / f"{name}.npz"): name for name in NAMES}


def test_part_of_a_list_is_paired_too(tmp_path):
    entries = read_datalist(write_list(tmp_path / "l.txt", [tmp_path / "npz/1--Handshaking/same.npz"]))
    assert entries[0].name == "same"
    assert list(paired(entries, images(*NAMES)).values()) == ["1--Handshaking/same"]


def test_flat_npz_files_are_paired_by_their_stem_where_that_is_unique():
    flat = [NpzFile(stem, Path("/npz") / f"{stem}.npz") for stem in ("a.b", "é", "top")]
    assert list(paired(flat, images(*NAMES)).values()) == ["0--Parade/a.b", "2--Demonstration/é", "top"]
    with pytest.raises(DataError, match=r"1 of 1 npz files cannot be paired .*: /npz/same\.npz \(2 images\)"):
        pair_with_images([NpzFile("same", Path("/npz/same.npz"))], images(*NAMES))


def test_npz_files_are_never_paired_with_another_events_image():
    entries = [NpzFile(f"{event}/same", Path(f"/npz/{event}/same.npz")) for event in ("0--Parade", "9--Press")]
    with pytest.raises(DataError, match=r"1 of 2 npz files .*: /npz/9--Press/same\.npz \(no images\)"):
        pair_with_images(entries, images("0--Parade/same", "0--Parade/other"))


def test_two_npz_files_never_share_an_image():
    entries = [NpzFile("x/a", Path("/npz/x/a.npz")), NpzFile("y/a", Path("/npz/y/a.npz"))]
    with pytest.raises(DataError, match=r"2 of 2 npz files .*/photos/a\.jpg, as others do"):
        pair_with_images(entries, images("a"))


def test_the_deepest_name_that_ends_the_path_wins():
    entries = [NpzFile("x/a", Path("/npz/x/a.npz")), NpzFile("a", Path("/npz/a.npz"))]
    assert paired(entries, images("a", "x/a")) == {"/npz/x/a.npz": "x/a", "/npz/a.npz": "a"}


def test_doubt_is_an_error_and_no_guess():
    """/npz/x/a.npz may have been made of a.jpg, with /npz/x as the target, or of x/a.jpg."""
    with pytest.raises(DataError, match="2 images"):
        pair_with_images([NpzFile("a", Path("/npz/x/a.npz"))], images("a", "x/a"))


def test_many_npz_files_without_image_are_counted_and_three_are_named():
    entries = [NpzFile(f"{n}", Path(f"/npz/{n}.npz")) for n in range(9)]
    with pytest.raises(DataError) as error:
        pair_with_images(entries, images("x"))
    assert str(error.value).startswith("9 of 9 npz files cannot be paired")
    assert str(error.value).endswith("/npz/2.npz (no images) and 6 more")


def test_file_that_is_listed_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.npz is listed twice"):
        read_datalist(write_list(tmp_path / "l.txt", ["a.npz", "b.npz", "a.npz"]))
    with pytest.raises(DataError, match=r"nowhere\.txt: cannot be read"):
        read_datalist(tmp_path / "nowhere.txt")
