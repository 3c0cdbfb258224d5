import contextlib
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from facedeploy.core.detections import Detections
from facedeploy.core.errors import DataError, ImageError
from facedeploy.widerface.prediction_files import read_predictions, write_predictions


def detections(boxes, scores) -> Detections:
    boxes, scores = np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(scores, np.float32)
    return Detections(boxes, scores, np.zeros((len(scores), 5, 2), np.float32))


FLOATS = st.floats(-1e5, 1e5, width=32)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 8).flatmap(lambda n: hnp.arrays(np.float32, (n, 5), elements=FLOATS)))
def test_every_float32_survives_writing_and_reading(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("files") / "e" / "i.txt"
    found = detections(table[:, :4], table[:, 4])
    write_predictions(path, "e/i", found)
    back = read_predictions(path)
    order = np.argsort(-found.scores, kind="stable")
    assert back.name == "e/i"
    np.testing.assert_array_equal(back.scores.astype(np.float32), found.scores[order])
    np.testing.assert_array_equal(back.boxes_xywh[:, :2].astype(np.float32), found.boxes[order, :2])
    sides = found.boxes[order, 2:].astype(np.float64) - found.boxes[order, :2]
    np.testing.assert_allclose(back.boxes_xywh[:, 2:], sides, rtol=1e-8)


def test_corners_inside_an_image_survive_too(tmp_path):
    corners = np.random.default_rng(0).uniform(0, 2000, (500, 4)).astype(np.float32)
    corners = np.concatenate(
        [np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1
    )
    write_predictions(tmp_path / "i.txt", "e/i", detections(corners, np.linspace(1, 0, 500)))
    xywh = read_predictions(tmp_path / "i.txt").boxes_xywh
    np.testing.assert_array_equal((xywh[:, :2] + xywh[:, 2:]).astype(np.float32), corners[:, 2:])


def test_file_has_name_count_and_best_score_first(tmp_path):
    path = tmp_path / "0--Parade" / "a.txt"
    write_predictions(path, "0--Parade/a", detections([[-1.5, 2, 3.25, 12], [1, 2, 4, 6]], [0.5, 0.75]))
    assert path.read_text() == "0--Parade/a\n2\n1 2 3 4 0.75\n-1.5 2 4.75 10 0.5\n"
    assert [each.name for each in path.parent.iterdir()] == ["a.txt"]


def test_no_detections_are_a_file_of_two_lines(tmp_path):
    write_predictions(tmp_path / "i.txt", "e/i", Detections.empty())
    assert (tmp_path / "i.txt").read_text() == "e/i\n0\n"
    assert read_predictions(tmp_path / "i.txt").boxes_xywh.shape == (0, 4)


def test_detections_that_are_not_finite_are_not_written(tmp_path):
    with pytest.raises(ImageError, match=r"e/i: 1 of 2 detections are not finite"):
        write_predictions(tmp_path / "i.txt", "e/i", detections([[0, 0, 1, 1], [0, 0, np.inf, 1]], [0.5, 0.5]))
    assert not list(tmp_path.iterdir())


def test_file_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "e").write_text("in the way")
    with pytest.raises(DataError, match=r"i\.txt: cannot be written"):
        write_predictions(tmp_path / "e" / "i.txt", "e/i", Detections.empty())


@pytest.mark.parametrize(
    "text",
    [
        "e/i\n2\n1 2 3 4 0.9\n5 6 7 8 0.5\n",
        "e/i\r\n2\r\n1 2 3 4 0.9\r\n5 6 7 8 0.5\r\n",
        "e/i\n 2 \n1 2 3 4 0.9 \n5\t6 7 8 0.5",
        "e/i\n2\n\n1 2 3 4 0.9\n\n5 6 7 8 0.5\n\n\n",
        "e/i\n2\n1e0 2.0 +3 4 9e-1\n5 6 7 8 .5\n",
    ],
)
def test_spacing_and_notation_do_not_matter(tmp_path, text):
    (tmp_path / "i.txt").write_bytes(text.encode())
    back = read_predictions(tmp_path / "i.txt")
    assert back.name == "e/i"
    assert back.boxes_xywh.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert back.scores.tolist() == [0.9, 0.5]


def test_order_of_the_file_is_kept(tmp_path):
    (tmp_path / "i.txt").write_text("e/i\n3\n1 2 3 4 0.1\n1 2 3 4 0.9\n1 2 3 4 0.5\n")
    assert read_predictions(tmp_path / "i.txt").scores.tolist() == [0.1, 0.9, 0.5]


ROW = "1 2 3 4 0.5\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: got an empty file"),
        (b" \n\n", "line 1: got an empty file"),
        (b"e/i\n", "line 2: got '', expected the number of boxes"),
        (b"e/i\nmany\n", "line 2: got 'many', expected the number of boxes"),
        (b"e/i\n-1\n", "line 2: got '-1', expected the number of boxes"),
        (b"e/i\n1.0\n" + ROW.encode(), "line 2: got '1.0'"),
        (b"e/i\n" + b"9" * 5000 + b"\n", "line 2: got '9999"),
        (b"e/i\n1\n1 2 3 4\n", r"line 3: got 4 columns \('1 2 3 4'\), expected 5: x y w h score"),
        (b"e/i\n2\n" + ROW.encode() + b"1 2 3 4 5 6\n", "line 4: got 6 columns"),
        (b"e/i\n2\n" + ROW.encode() + b"\n1 2 three 4 0.5\n", "line 5: got 'three' for w, expected a finite number"),
        (b"e/i\n1\n1,2,3,4,0.5\n", "line 3: got 1 columns"),
        (b"e/i\n1\n1 2 3 4 nan\n", "line 3: got 'nan' for score"),
        (b"e/i\n1\n1 -inf 3 4 0.5\n", "line 3: got '-inf' for y"),
        (b"e/i\n1\n1 2 3 1e999 0.5\n", "line 3: got '1e999' for h"),
        (b"e/i\n1\n1.2.3 2 3 4 0.5\n", "line 3: got '1.2.3' for x"),
        (b"e/i\n1\n1_0 2 3 4 0.5\n", "line 3: got '1_0' for x"),
        (b"e/i\n1\n1 2 3 4 0.5 # best\n", "line 3: got 7 columns"),
        (b"e/i\n3\n" + 2 * ROW.encode(), "line 2: got a count of 3, but 2 lines"),
        (b"e/i\n1\n" + 2 * ROW.encode(), "line 2: got a count of 1, but 2 lines"),
        (b"e/i\n0\n" + ROW.encode(), "line 2: got a count of 0, but 1 lines"),
        (b"e/i\n2\n", "line 2: got a count of 2, but 0 lines"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "line 1: got bytes that are not text"),
        (b"e/i\n1\n\xff\xfe\n", "line 3: got bytes that are not text"),
        (b"\0" * 64, "line 2: got ''"),
        (b"e/i\n1\n\0\0 2 3 4 5\n", r"line 3: got '\\x00\\x00' for x"),
    ],
)
def test_mistake_is_named_with_file_and_line(tmp_path, content, message):
    path = tmp_path / "i.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_predictions(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("files") / "i.txt"
    for data in (content, b"e/i\n1\n" + content):
        path.write_bytes(data)
        with contextlib.suppress(DataError):
            assert np.isfinite(read_predictions(path).boxes_xywh).all()


def test_folder_in_place_of_a_file_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_predictions(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission_is_one_sentence(tmp_path):
    path = tmp_path / "i.txt"
    path.touch(mode=0)
    with pytest.raises(DataError, match="cannot be read"):
        read_predictions(path)
