"""`facedeploy fddb-results` and `facedeploy eval-fddb`."""

import json
from math import pi

import cv2
import numpy as np
import pytest

pytest.importorskip("scipy", reason="matching needs scipy (extra eval)")

NAMES = ["2002/08/11/big/img_1", "2003/01/02/big/img_2"]


@pytest.fixture
def folds(tmp_path):
    """Two images: a circle that is found and one that is half out of the image; one box finds nothing."""
    folder = tmp_path / "FDDB-folds"
    folder.mkdir()
    faces = ["10 10 0 50 50 1", "10 10 0 0 20 1"]
    for fold, (name, face) in enumerate(zip(NAMES, faces, strict=True), start=1):
        (folder / f"FDDB-fold-{fold:02}.txt").write_text(f"{name}\n")
        (folder / f"FDDB-fold-{fold:02}-ellipseList.txt").write_text(f"{name}\n1\n{face}\n")
        image = tmp_path / f"originalPics/{name}.jpg"
        image.parent.mkdir(parents=True)
        image.write_bytes(cv2.imencode(".jpg", np.zeros((60, 80, 3), np.uint8))[1].tobytes())
    boxes = ["2\n40 40 20 20 0.9\n0 0 5 5 0.8\n", "1\n0 10 10 20 0.7\n"]
    for name, text in zip(NAMES, boxes, strict=True):
        path = tmp_path / f"out/{name}.txt"
        path.parent.mkdir(parents=True)
        path.write_text(f"{name}\n{text}")
    return folder


def test_results_are_in_the_lists_order_and_evaluated(command, folds, tmp_path):
    lists = [folds / "FDDB-fold-02.txt", folds / "FDDB-fold-01.txt"]
    results = tmp_path / "results.txt"
    code, out, _ = command("fddb-results", "--predictions", tmp_path / "out", "--list", *lists, "--output", results)
    assert (code, out) == (0, f"2 images, 3 boxes; written to {results}\n")
    assert results.read_text() == (f"{NAMES[1]}\n1\n0 10 10 20 0.7\n{NAMES[0]}\n2\n40 40 20 20 0.9\n0 0 5 5 0.8\n")
    written = [tmp_path / name for name in ("numbers.json", "roc.csv", "roc.png")]
    code, out, error = command(
        "eval-fddb", "-p", results, "-g", folds, "--json", written[0], "--csv", written[1], "--plot", written[2],
        "--images", tmp_path / "originalPics",
    )  # fmt: skip
    assert (code, error) == (0, "")
    assert "2 images, 2 faces, cut at the borders" in out
    assert [line.split() for line in out.splitlines()[-4:]] == [
        [count, "1.0000", f"{pi / 4:.4f}"] for count in ("100", "500", "1000", "2000")
    ]
    numbers = json.loads(written[0].read_text())
    assert numbers["rates"]["100"] == {"discrete": 1.0, "continuous": pytest.approx(pi / 4)}
    assert (numbers["boxes"], numbers["last_false_positives"]) == (3, 1)
    assert written[1].read_text().splitlines() == [
        "threshold,false_positives,discrete,continuous",
        f"0.9,0,0.5,{pi / 8:.9g}",
        f"0.8,1,0.5,{pi / 8:.9g}",
        f"0.7,1,1,{pi / 4:.9g}",
    ]
    assert written[2].read_bytes().startswith(b"\x89PNG")


def test_folder_of_predictions_is_evaluated_as_it_is_and_uncut_without_images(command, folds, tmp_path):
    code, out, _ = command("eval-fddb", "-p", tmp_path / "out", "-g", folds)
    assert code == 0
    assert "not cut at the borders" in out
    # The second box covers half of its circle: IoU (pi 50) / (200 + pi 50) = .44, which is no match.
    assert out.splitlines()[-1].split()[1] == "0.5000"


def test_missing_predictions_are_named_or_counted(command, refused, folds, tmp_path):
    (tmp_path / f"out/{NAMES[1]}.txt").unlink()
    words = ("fddb-results", "--predictions", tmp_path / "out", "--list", folds, "--output", tmp_path / "r.txt")
    assert f"1 of 2 images have no predictions: {NAMES[1]}" in refused(*words)
    assert not (tmp_path / "r.txt").exists()
    assert f"1 of 2 images have no predictions: {NAMES[1]}" in refused("eval-fddb", "-p", tmp_path / "out", "-g", folds)
    assert "1 of them without predictions" in command(*words, "--allow-missing")[1]
    assert (tmp_path / "r.txt").read_text().startswith(f"{NAMES[0]}\n2\n")
    assert (tmp_path / "r.txt").read_text().endswith(f"{NAMES[1]}\n0\n")
    out = command("eval-fddb", "-p", tmp_path / "out", "-g", folds, "--allow-missing")[1]
    assert "warning: 1 images have no predictions and count as without detections" in out


def test_mistakes_are_one_sentence(refused, folds, tmp_path):
    (tmp_path / "bad.txt").write_text(f"{NAMES[0]}\n1\n1 2 3\n")
    assert "line 3: got 1 2 3, expected 5 finite numbers" in refused(
        "eval-fddb", "-p", tmp_path / "bad.txt", "-g", folds
    )
    assert "got suffix '.gif'" in refused(
        "eval-fddb", "-p", tmp_path / "out", "-g", folds, "--plot", tmp_path / "roc.gif"
    )
    assert "img_1.jpg: cannot be read" in refused(
        "eval-fddb", "-p", tmp_path / "out", "-g", folds, "--images", tmp_path / "none"
    )
    (folds / "none.txt").write_text("a\n0\n")
    assert "no image has a face" in refused(
        "eval-fddb", "-p", tmp_path / "out", "-g", folds / "none.txt", "--allow-missing"
    )


def test_a_run_of_the_listed_images_becomes_results(command, tiny_artifact, new_photo, folds, tmp_path):
    """As --help says: the lists become paths, the paths are run, and what was written has the lists' names."""
    for seed, name in enumerate((*NAMES, "2002/08/11/big/not_listed")):
        new_photo(tmp_path / f"originalPics/{name}.jpg", seed)
    names = [line for path in sorted(folds.glob("FDDB-fold-[0-9][0-9].txt")) for line in path.read_text().splitlines()]
    (tmp_path / "fddb.txt").write_text("".join(f"{tmp_path}/originalPics/{name}.jpg\n" for name in names))
    run = ("run", "--file_path", tmp_path / "fddb.txt", "--model_prefix_path", tiny_artifact.prefix)
    assert command(*run, "--save_dir", tmp_path / "found")[0] == 0
    results = tmp_path / "results.txt"
    code, _, error = command("fddb-results", "--predictions", tmp_path / "found", "--list", folds, "--output", results)
    assert (code, error) == (0, "")
    written = [(tmp_path / f"found/{name}.txt").read_text() for name in names]
    assert results.read_text() == "".join(written)
    assert command("eval-fddb", "-p", results, "-g", folds)[0] == 0
