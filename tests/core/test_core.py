"""The small nouns: detections, priors, tensor specs, files, requirements."""

import errno
import os

import numpy as np
import pytest

from facedeploy.core.detections import Detections
from facedeploy.core.errors import DataError, DependencyError
from facedeploy.core.files import atomic_path, remove_partial, write_text
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.core.requirement import require
from facedeploy.core.shown import shown
from facedeploy.core.tensor_spec import TensorSpec


def test_detections_raises_when_shapes_disagree():
    with pytest.raises(ValueError, match=r"landmarks: got shape \(2, 10\), expected \(2, 5, 2\)"):
        Detections(np.zeros((2, 4), np.float32), np.zeros(2, np.float32), np.zeros((2, 10), np.float32))


def test_detections_empty_has_no_face():
    assert len(Detections.empty()) == 0


@pytest.mark.parametrize(
    ("canvas_hw", "count"), [((640, 640), 16_800), ((320, 320), 4_200), ((416, 500), 2 * (52 * 63 + 26 * 32 + 13 * 16))]
)
def test_prior_spec_counts_cells_rounded_up(canvas_hw, count):
    assert PriorSpec().count(canvas_hw) == count


def test_prior_spec_raises_when_levels_disagree():
    with pytest.raises(ValueError, match="min_sizes has 1 levels, strides 2"):
        PriorSpec(min_sizes=((16, 32),), strides=(8, 16))


def test_tensor_spec_reads_as_one_word():
    assert str(TensorSpec("input", (1, 3, 640, 640), "float32")) == "input float32[1,3,640,640]"


def test_write_text_makes_folders_and_leaves_nothing_else(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "é")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]
    assert (tmp_path / "a" / "b.txt").read_bytes() == "é".encode()


def test_remove_partial_removes_what_was_being_written_and_nothing_else(tmp_path):
    (tmp_path / "partial").mkdir()
    for name in ("a.txt", ".hidden", "partial/b.txt"):
        (tmp_path / name).touch()
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "c.txt") as temporary:
        temporary.write_text("half")
        temporary.with_name(f"{temporary.name[:20]}-of-a-process-that-was-killed.txt").touch()
        raise RuntimeError
    remove_partial(tmp_path)
    remove_partial(tmp_path / "nowhere")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")) == [
        ".hidden",
        "a.txt",
        "partial/b.txt",
    ]


def test_atomic_path_keeps_the_old_file_when_writing_fails(tmp_path):
    target = tmp_path / "x.json"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        assert temporary.suffix == ".json"
        temporary.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert target.read_text() == "old"


def test_require_names_package_extra_and_purpose_when_missing():
    with pytest.raises(DependencyError, match=r"drawing needs the package no_such_module.*facedeploy\[demo\]"):
        require("no_such_module", "demo", "drawing")
    assert require("math", "demo", "drawing").pi > 3


def test_text_replaces_a_file_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "folder" / "ü.a.txt"
    write_text(path, "one\n")
    write_text(str(path), "zwei ü\n")
    assert path.read_bytes() == "zwei ü\n".encode()
    true = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: true(descriptor, data[:3]))  # As a pipe or a signal may.
    write_text(path, "three")
    assert path.read_text() == "three"

    def full(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DataError, match=r"ü\.a\.txt: cannot be written \(No space left on device\)"):
        write_text(path, "four")
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert path.read_text() == "three"


def test_text_into_a_folder_that_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        write_text(tmp_path / "file" / "a.txt", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a key of ü and 😀", "a key of ü and 😀"),
        ("", "''"),
        ("\n\t", "'\\n\\t'"),
        ("a\nb\x1b[31m\u2028\ud800\u202e", r"a\nb\x1b[31m\u2028\ud800\u202e"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 60 + "..."),
    ],
)
def test_shown_is_one_short_line_that_prints(text, expected):
    assert shown(text) == expected
    assert shown(text).isprintable()
