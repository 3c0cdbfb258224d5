"""Fold files, ellipse lists, results: what is read, and what is said of files that are not so."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.core.detections import Detections
from facedeploy.core.errors import DataError
from facedeploy.fddb.folds import read_ellipses, read_names
from facedeploy.fddb.results import complete, gather_predictions, read_results, write_results
from facedeploy.widerface.prediction_files import write_predictions

ELLIPSES = """\
2002/08/11/big/img_591
1
123.583300 85.549500 1.265839 269.693400 161.781200  1
2002/08/26/big/img_265
3
67.363819 44.511485 -1.476417 105.249970 87.209036  1
41.936870 27.064477 1.471906 184.070915 129.345601  1
70.993052 43.355200 1.370217 340.894300 117.498951  1
2002/07/19/big/img_423
0
"""
NAMES = ["2002/08/11/big/img_591", "2002/08/26/big/img_265", "2002/07/19/big/img_423"]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_ellipses_of_a_folder_are_those_of_its_folds_in_order(tmp_path):
    write(tmp_path / "FDDB-fold-02-ellipseList.txt", "b\n0\n")
    write(tmp_path / "FDDB-fold-01-ellipseList.txt", ELLIPSES.replace("\n", "\r\n"))
    write(tmp_path / "FDDB-fold-01.txt", "\n".join(NAMES))
    write(tmp_path / "FDDB-fold-02.txt", "b\n")
    faces = read_ellipses([tmp_path])
    assert list(faces) == read_names([tmp_path]) == [*NAMES, "b"]
    assert [len(each) for each in faces.values()] == [1, 3, 0, 0]
    assert list(faces[NAMES[0]][0]) == [123.5833, 85.5495, 1.265839, 269.6934, 161.7812]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: got an empty file, expected for each image its name"),
        ("a\n", "ends after the name a, expected the number of its lines"),
        ("a\nx\n", "line 2: got x, expected the number of lines of a"),
        ("a\n-1\n", "line 2: got -1, expected the number"),
        ("a\n1\n", "ends too soon, expected 1 lines"),
        ("a\n2\n1 2 3 4 5\nb\n0\n", "line 4: got b, expected 5 finite numbers, x y w h score, one of 2 lines for a"),
        ("a\n1\n1 2 3 4\n", "line 3: got 1 2 3 4, expected 5 finite numbers"),
        ("a\n1\n1 2 3 4 nan\n", "line 3: got 1 2 3 4 nan, expected 5 finite numbers"),
        ("a\n1\n1 2 3 4 1_0\n", "line 3: got 1 2 3 4 1_0"),
        ("a\n1\n1 2 3 4 1e400\n", "line 3: got"),
        ("a\n1\n1 2 3 4 5\n6 7 8 9 10\n", "line 4: got numbers (6 7 8 9 10), expected the name of the next image"),
        ("a\n0\n\na\n0\n", "line 4: got a a second time, after line 1"),
    ],
)
def test_wrong_results_are_one_sentence_with_file_and_line(tmp_path, text, said):
    path = write(tmp_path / "results.txt", text)
    with pytest.raises(DataError) as error:
        read_results(path)
    assert str(error.value).startswith(str(path))
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_wrong_lists_are_one_sentence(tmp_path):
    first = write(tmp_path / "a.txt", "x\ny\n")
    with pytest.raises(DataError, match=r"a\.txt, line 1: got x a second time, after .*a\.txt, line 1"):
        read_names([first, first])
    with pytest.raises(DataError, match="line 2: got 1 2, expected the path of an image, one a line"):
        read_names([write(tmp_path / "b.txt", "x\n1 2\n")])
    with pytest.raises(DataError, match=r"has no FDDB-fold-\[0-9\]\[0-9\]\.txt: give the folder FDDB-folds"):
        read_names([tmp_path])
    with pytest.raises(DataError, match=r"none\.txt: cannot be read \(No such file"):
        read_names([tmp_path / "none.txt"])
    with pytest.raises(DataError, match="line 2: got bytes that are not text"):
        (tmp_path / "c.txt").write_bytes(b"x\n\xff\xff\n")
        read_names([tmp_path / "c.txt"])
    with pytest.raises(DataError, match="line 1: a has a radius of 0 or less"):
        read_ellipses([write(tmp_path / "d.txt", "a\n1\n5 0 0 1 1 1\n")])
    with pytest.raises(DataError, match="got a, which an earlier file has too"):
        read_ellipses([write(tmp_path / "e.txt", "a\n0\n"), write(tmp_path / "f.txt", "a\n0\n")])


VALUE = st.floats(-1e6, 1e6, width=32)
ROWS = st.lists(st.tuples(VALUE, VALUE, VALUE, VALUE, VALUE), max_size=5)


@settings(max_examples=50, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_results_return_as_they_were_written(tmp_path_factory, all_rows):
    path = tmp_path_factory.mktemp("fddb") / "results.txt"
    boxes = {f"2002/{index}": np.array(rows, np.float32).reshape(-1, 5) for index, rows in enumerate(all_rows)}
    write_results(path, {name: rows.astype(np.float64) for name, rows in boxes.items()})
    again = read_results(path)
    assert list(again) == list(boxes)
    assert all((again[name].astype(np.float32) == rows).all() for name, rows in boxes.items())


@pytest.fixture
def predictions(tmp_path):
    """What a run writes for the first two images."""
    for name in NAMES[:2]:
        boxes = np.float32([[1, 2, 11.5, 22], [3, 4, 5, 6]])
        faces = Detections(boxes, np.float32([0.25, 0.75]), np.zeros((2, 5, 2), np.float32))
        write_predictions(tmp_path / f"out/{name}.txt", name, faces)
    return tmp_path / "out"


def test_predictions_of_a_run_are_gathered(predictions):
    found = gather_predictions(predictions, NAMES)
    assert list(found) == NAMES[:2]
    assert found[NAMES[0]].tolist() == [[3, 4, 2, 2, 0.75], [1, 2, 10.5, 20, 0.25]]
    with pytest.raises(DataError, match="1 of 3 images have no predictions: 2002/07/19/big/img_423; run them too"):
        complete(found, NAMES, predictions, allow_missing=False)
    whole, missing = complete(found, NAMES, predictions, allow_missing=True)
    assert (list(whole), missing) == (NAMES, NAMES[2:])
    assert whole[NAMES[2]].shape == (0, 5)


def test_predictions_of_another_image_are_refused(predictions):
    write(predictions / f"{NAMES[2]}.txt", "0--Parade/other\n0\n")
    with pytest.raises(DataError, match=r"got predictions of 0--Parade/other, expected those of .*img_423 alone"):
        gather_predictions(predictions, NAMES)
    with pytest.raises(DataError, match="no such folder"):
        gather_predictions(predictions / "none", NAMES)
