"""What a path on a command line means as a dataset."""

import os
from pathlib import Path

import pytest

from facedeploy.core.errors import DataError
from facedeploy.image.dataset import find_images, list_images, name_files, read_list


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(path):
    return [image.name for image in list_images(path)]


def one_sentence(error):
    assert len(str(error.value).splitlines()) == 1


def test_one_file_is_named_by_its_stem(tmp_path):
    touch(tmp_path, "a.b.jpg")
    (image,) = list_images(tmp_path / "a.b.jpg")
    assert (image.name, image.path) == ("a.b", tmp_path / "a.b.jpg")


def test_file_is_taken_as_an_image_whatever_its_suffix(tmp_path):
    touch(tmp_path, "scan.jfif", "noext")
    assert names(tmp_path / "scan.jfif") == ["scan"]
    assert names(tmp_path / "noext") == ["noext"]


def test_folder_is_listed_in_order_with_all_below_it(tmp_path):
    touch(tmp_path, "z.JPG", "a b.png", "é/ü.jpeg", "deep/er/x.WebP", "notes.md", "list.txt", "a.b.c.tiff", "b.bmp")
    found = list_images(tmp_path)
    assert [image.name for image in found] == ["a b", "a.b.c", "b", "deep/er/x", "z", "é/ü"]
    assert all(image.path.is_file() for image in found)


@pytest.mark.parametrize("above", [True, False])
def test_wider_tree_is_found_from_the_events_or_from_above_images(tmp_path, above):
    touch(tmp_path, "images/0--Parade/1.jpg", "images/1--Handshaking/1.jpg", "ground_truth/x.jpg")
    assert names(tmp_path if above else tmp_path / "images") == ["0--Parade/1", "1--Handshaking/1"]


def test_same_folder_gives_the_same_names_however_it_is_written(tmp_path, monkeypatch):
    touch(tmp_path, "data/e/1.jpg")
    monkeypatch.chdir(tmp_path)
    for path in (
        "data",
        "./data",
        "data/",
        "data/e/..",
        Path("data"),
        tmp_path / "data",
        "../" + tmp_path.name + "/data",
    ):
        assert names(path) == ["e/1"]


def test_name_that_no_result_can_have_is_set_apart(tmp_path):
    """255 bytes are the most; `.txt` is longer than no suffix."""
    long, longest = "é" * 126, "x" * 251
    lines = f"{longest}.jpg", f"{longest}y", f"{long}.z", long[1:], "x" * 5000
    touch(tmp_path, *lines[:4])
    (tmp_path / "list.txt").write_text("\n".join(str(tmp_path / line) for line in lines))
    found = find_images(tmp_path / "list.txt")
    assert [image.name for image in found.images] == [longest, long[1:]]
    assert [image.name for image, _ in found.refused] == [f"{longest}y", long, "x" * 5000]
    for (_, error), length in zip(found.refused, (256, 256, 5004), strict=True):
        assert str(error).endswith(f"...: its result would have a name of {length} bytes (255 at most): rename it")


def test_hidden_files_and_folders_do_not_count(tmp_path):
    touch(tmp_path, ".a.jpg", ".cache/b.jpg", ".partial-1.jpg", "c.jpg")
    assert names(tmp_path) == ["c"]


def test_links_are_followed_and_loops_end(tmp_path):
    touch(tmp_path, "data/e/1.jpg", "elsewhere/2.jpg")
    (tmp_path / "data" / "e" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "self").symlink_to("self")
    (tmp_path / "data" / "gone.jpg").symlink_to("nowhere")
    assert names(tmp_path / "data") == ["e/1", "gone", "linked/2"]


def test_images_that_would_share_results_are_refused(tmp_path):
    touch(tmp_path, "e/a.jpg", "e/a.png", "f/a.jpg")
    with pytest.raises(
        DataError, match=r"a\.jpg and .*a\.png would both write their results as e/a: rename one"
    ) as error:
        list_images(tmp_path)
    one_sentence(error)


@pytest.mark.parametrize("name", ["a\nb.jpg", "a\rb.jpg", "a\u2028b.jpg"])
def test_name_with_a_line_break_is_refused(tmp_path, name):
    touch(tmp_path, name, "c.jpg")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(DataError, match="a name with a line break cannot stand in a list") as error:
            list_images(path)
        one_sentence(error)


def test_names_that_are_no_line_of_text_are_set_apart_from_the_others(tmp_path):
    touch(tmp_path, "data/a\nb.jpg", "data/c.jpg", "data/new\rfolder/d.jpg", "data/new\rfolder/e.png", "data/z z.jpg")
    found = find_images(tmp_path / "data")
    assert [image.name for image in found.images] == ["c", "z z"]
    assert [image.name for image, _ in found.refused] == ["a\nb", "new\rfolder/d", "new\rfolder/e"]
    assert [image.path.is_file() for image, _ in found.refused] == [True] * 3
    assert all("a name with a line break" in str(error) for _, error in found.refused)
    assert found.root == tmp_path / "data"
    alone = find_images(tmp_path / "data" / "a\nb.jpg")
    assert (alone.images, len(alone.refused), alone.root) == ([], 1, None)


def test_line_break_in_the_folder_of_a_dataset_is_no_part_of_its_names(tmp_path):
    touch(tmp_path, "a\nb/c.jpg", "a\nb/d/e.jpg")
    assert names(tmp_path / "a\nb") == ["c", "d/e"]


def test_name_that_is_no_text_is_refused(tmp_path):
    try:
        Path(os.fsdecode(bytes(tmp_path) + b"/\xff.jpg")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(DataError, match="a name that is not UTF-8") as error:
        list_images(tmp_path)
    one_sentence(error)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere", "nowhere: there is no such file or folder"),
        ("empty", "empty has no image in it or below"),
        ("x" * 300, "cannot be read .File name too long"),
        ("empty.txt", "empty.txt: the list is empty, expected one path a line"),
        ("binary.txt", "binary.txt: byte 0 is not UTF-8, expected a text"),
    ],
)
def test_no_dataset_is_one_sentence(tmp_path, path, said):
    touch(tmp_path, "empty/readme.md")
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=said) as error:
        list_images(tmp_path / path)
    one_sentence(error)


def test_folder_that_may_not_be_listed_is_one_sentence(tmp_path, monkeypatch):
    """Root may list all, so the refusal is made."""
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"b: cannot be read \(Permission denied\)"):
        list_images(tmp_path)


def test_list_keeps_its_order_and_names_are_below_the_common_folder(tmp_path):
    touch(tmp_path, "d/e/2.jpg", "d/e/1.jpg", "d/f/1.jpg")
    (tmp_path / "l.txt").write_text(f"{tmp_path}/d/f/1.jpg\n\n{tmp_path}/d/e/2.jpg\r\n{tmp_path}/d/e/1.jpg")
    assert names(tmp_path / "l.txt") == ["f/1", "e/2", "e/1"]


def test_list_is_relative_to_the_current_folder_or_to_the_list(tmp_path, monkeypatch):
    touch(tmp_path, "here/x.jpg", "lists/y.jpg", "here/both.jpg", "lists/both.jpg")
    (tmp_path / "lists" / "l.lst").write_text("x.jpg\ny.jpg\nboth.jpg\nnowhere.jpg\n", encoding="utf-8-sig")
    monkeypatch.chdir(tmp_path / "here")
    assert read_list(Path("../lists/l.lst")) == [
        Path("x.jpg"),
        Path("../lists/y.jpg"),
        Path("both.jpg"),
        Path("nowhere.jpg"),
    ]


def test_no_name_climbs_out_of_the_folder_of_results(tmp_path, monkeypatch):
    touch(tmp_path, "work/b.jpg", "a.jpg")
    monkeypatch.chdir(tmp_path / "work")
    Path("l.txt").write_text("../a.jpg\nb.jpg\n./../work/../work/c.jpg\n")
    assert names("l.txt") == ["a", "work/b", "work/c"]


def test_file_that_is_listed_twice_is_refused(tmp_path):
    (tmp_path / "l.txt").write_text("a.jpg\nb.jpg\na.jpg\n")
    with pytest.raises(DataError, match=r"l\.txt: a\.jpg is listed twice"):
        name_files(tmp_path / "l.txt")
    (tmp_path / "l.txt").write_text("a.jpg\nb/../a.jpg\n")
    with pytest.raises(DataError, match=r"l\.txt: a\.jpg and b/\.\./a\.jpg would both write"):
        name_files(tmp_path / "l.txt")


@pytest.mark.parametrize("line", ["/", "//", "/.."])
def test_line_that_names_no_file_is_one_sentence(tmp_path, line):
    (tmp_path / "l.txt").write_text(f"a.jpg\n{line}\n")
    with pytest.raises(DataError, match=r"l\.txt: got /\S*, expected the path of a file$"):
        list_images(tmp_path / "l.txt")


def test_two_slashes_are_one(tmp_path):
    (tmp_path / "l.txt").write_text("//x/1.jpg\n/y/1.jpg\n")
    assert [image.name for image in list_images(tmp_path / "l.txt")] == ["x/1", "y/1"]


def test_line_that_is_no_path_is_left_for_reading_to_report(tmp_path):
    path = "/".join(["x" * 100] * 50) + ".jpg"
    (tmp_path / "l.txt").write_text(f"{path}\n")
    (image,) = list_images(tmp_path / "l.txt")
    assert str(image.path) == path
