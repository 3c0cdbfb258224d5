"""`facedeploy run` and build_in/vsx/python/vsx.py."""

import json
import os
import signal
import sys
import time

import cv2
import numpy as np
import pytest

from facedeploy.runtime import operator
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.widerface.prediction_files import read_predictions

NAMES = ["0--Parade/a b", "0--Parade/a.b", "0--Parade/same", "1--Handshaking/same", "top", "ü--Gruppe/é"]


def written(folder, suffix=".txt"):
    return sorted(str(path.relative_to(folder))[: -len(suffix)] for path in folder.rglob(f"*{suffix}"))


def test_every_image_has_a_prediction_file_of_its_name(run, photos, tiny_artifact, tmp_path):
    code, out, error = run()
    assert (code, error) == (0, "")
    assert written(tmp_path / "out") == NAMES
    assert out.startswith("6 images, ")
    assert out.endswith(f"written to {tmp_path / 'out'}\n")
    detector = FaceDetector.from_artifact(tiny_artifact.prefix)
    total = 0
    for name in NAMES:
        predictions = read_predictions(tmp_path / "out" / f"{name}.txt")
        (image,) = [path for path in (photos / "images").rglob("*") if str(path).startswith(f"{photos}/images/{name}.")]
        expected = detector.detect(image)
        total += len(expected)
        assert predictions.name == name
        assert (np.diff(predictions.scores) <= 0).all()
        np.testing.assert_array_equal(predictions.boxes_xywh[:, :2].astype(np.float32), expected.boxes[:, :2])
        np.testing.assert_array_equal(predictions.scores.astype(np.float32), expected.scores)
    assert f", {total} boxes, " in out


def test_results_are_the_same_bytes_whatever_runs_side_by_side(run, tmp_path):
    run(save_dir=tmp_path / "one")
    run("--instances", 3, "--decoders", 2, "--threads", 1, save_dir=tmp_path / "many")
    for name in NAMES:
        assert (tmp_path / "one" / f"{name}.txt").read_bytes() == (tmp_path / "many" / f"{name}.txt").read_bytes()


def test_one_file_a_list_and_the_folder_of_events_work_too(run, photos, tmp_path):
    assert run(file_path=photos / "images", save_dir=tmp_path / "events")[0] == 0
    assert written(tmp_path / "events") == NAMES
    assert run(file_path=photos / "images" / "0--Parade" / "a.b.PNG", save_dir=tmp_path / "file")[0] == 0
    assert written(tmp_path / "file") == ["a.b"]
    (tmp_path / "list.txt").write_text("photos/images/0--Parade/a.b.PNG\nphotos/images/top.PNG\n")
    assert run(file_path=tmp_path / "list.txt", save_dir=tmp_path / "list")[0] == 0
    assert written(tmp_path / "list") == ["0--Parade/a.b", "top"]


def test_unreadable_images_are_reported_and_counted_and_the_run_goes_on(run, photos, tmp_path):
    (photos / "images" / "0--Parade" / "broken.jpg").write_bytes(b"no image")
    (photos / "images" / "1--Handshaking" / "empty.png").touch()
    code, out, error = run()
    assert code == 1
    assert out.startswith("6 images, ")
    lines = error.splitlines()
    assert lines[0] == "2 of 8 failed:"
    assert "broken.jpg: " in lines[1]
    assert "empty.png: is empty" in lines[2]
    assert len(lines) == 3
    assert written(tmp_path / "out") == NAMES


def test_name_that_is_no_line_of_text_is_one_failure(run, photos, tmp_path):
    """Of 100,000 images, one badly named folder is no reason to do none."""
    bad = photos / "images" / "0--Parade" / "a\nb.jpg"
    bad.write_bytes((photos / "images" / "0--Parade" / "a b.jpg").read_bytes())
    code, out, error = run()
    assert (code, out.split(", ")[0]) == (1, "6 images")
    assert error.splitlines()[0] == "1 of 7 failed:"
    assert len(error.splitlines()) == 2
    assert r"0--Parade/a\nb.jpg" in error.splitlines()[1]
    assert written(tmp_path / "out") == NAMES
    (line,) = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
    assert json.loads(line)["path"] == str(bad)
    code, out, error = run(file_path=bad, save_dir=tmp_path / "alone")
    assert (code, out.split(", ")[0], error.splitlines()[0]) == (1, "0 images", "1 of 1 failed:")


def test_results_that_are_not_finite_are_one_failure(run, monkeypatch, tmp_path):
    true = operator.detections_of

    def detections_of(slots, letterbox):
        found = true(slots, letterbox)
        if letterbox.source_hw == (60, 190):  # The first photo alone.
            found.boxes[0, 2] = np.inf
        return found

    monkeypatch.setattr(operator, "detections_of", detections_of)
    code, out, error = run()
    assert (code, out.split(", ")[0]) == (1, "5 images")
    assert "a b.jpg: 0--Parade/a b: 1 of " in error.splitlines()[1]
    assert "detections are not finite numbers" in error.splitlines()[1]
    assert written(tmp_path / "out") == NAMES[1:]


def test_report_of_failures_goes_when_nothing_fails_any_more(run, photos, tmp_path):
    broken = photos / "images" / "broken.jpg"
    broken.write_bytes(b"no image")
    assert run()[0] == 1
    assert (tmp_path / "out" / "failures.jsonl").exists()
    broken.unlink()
    assert run()[0] == 0
    assert not (tmp_path / "out" / "failures.jsonl").exists()


@pytest.mark.parametrize("words", [(), ("--isolate", "--draw")])
def test_images_of_any_form_are_done(run, tmp_path, words):
    """One pixel, lines, other channels and depths, names that lie of the format."""
    random = np.random.default_rng(0)
    shapes = {"dot": (1, 1, 3), "row": (1, 20000, 3), "column": (20000, 1, 3), "gray": (90, 70), "alpha": (50, 90, 4)}
    images = {name: random.integers(0, 256, shape, np.uint8) for name, shape in shapes.items()}
    images["deep"] = random.integers(0, 65536, (70, 90, 3), np.uint16)
    (tmp_path / "forms").mkdir()
    for name, pixels in images.items():
        (tmp_path / "forms" / f"{name}.jpg").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    code, out, error = run(*words, file_path=tmp_path / "forms")
    assert (code, error, out.split(", ")[0]) == (0, "", "6 images")
    assert written(tmp_path / "out") == sorted(images)
    for name in images:
        predictions = read_predictions(tmp_path / "out" / f"{name}.txt")
        assert np.isfinite(predictions.boxes_xywh).all()


def test_run_in_which_all_images_fail_ends_with_its_report(run, tmp_path):
    for number in range(30):
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / f"{number:02}.jpg").write_bytes(b"no image")
    code, out, error = run(file_path=tmp_path / "bad")
    assert code == 1
    assert out.startswith("0 images, 0 boxes")
    assert error.splitlines()[0] == "30 of 30 failed:"
    assert error.splitlines()[-1] == "  ... and 10 more"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["failures.jsonl", "run.journal"]
    report = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    reason = "is no image that OpenCV can decode, or is cut short"
    assert report == [
        {"name": f"{number:02}", "path": f"{tmp_path}/bad/{number:02}.jpg", "reason": reason} for number in range(30)
    ]


def test_image_that_fails_has_no_results_of_an_earlier_run(run, photos, tmp_path):
    """Else an evaluation would take them for this run's."""
    assert run("--draw")[0] == 0
    (photos / "images" / "0--Parade" / "a b.jpg").write_bytes(b"no image any more")
    assert run()[0] == 1
    others = [name for name in NAMES if name != "0--Parade/a b"]
    assert (written(tmp_path / "out"), written(tmp_path / "out", ".jpg")) == (others, NAMES), (
        "pictures are not asked for"
    )
    assert run("--draw")[0] == 1
    assert written(tmp_path / "out", ".jpg") == others


@pytest.mark.parametrize(
    ("folder", "words", "taken"),
    [
        ("top.txt", [], "top.txt"),
        ("0--Parade/same.txt/deep", [], "0--Parade/same.txt"),
        ("top.jpg", ["--draw"], "top.jpg"),
        ("run.journal", [], "run.journal"),
        ("failures.jsonl/deep", [], "failures.jsonl"),
    ],
)
def test_folder_with_the_name_of_a_result_is_refused_before_the_first_image(
    run, refused, photos, new_photo, tmp_path, folder, words, taken
):
    new_photo(photos / "images" / folder / "other.png", 7)
    said = run(*words, how=refused)
    assert said.startswith(
        f"{tmp_path}/out/{taken} would be a file of results, and the folder of results of the images"
    )
    assert not (tmp_path / "out").exists()


def test_folder_with_the_name_of_no_result_of_this_run_is_fine(run, photos, new_photo):
    new_photo(photos / "images" / "top.jpg" / "other.png", 7)
    assert run()[0] == 0


def test_path_that_is_too_long_is_one_failure(run, photos, tmp_path):
    there = photos / "images" / "top.PNG"
    (tmp_path / "list.txt").write_text(f"{'/'.join(['x' * 100] * 50)}.jpg\n{'x' * 300}.jpg\n{there}\n")
    code, out, error = run(file_path=tmp_path / "list.txt")
    assert (code, out.split(", ")[0], error.splitlines()[0]) == (1, "1 images", "2 of 3 failed:")


def test_images_that_failed_do_not_count_as_done_in_a_second(run, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.jpg").write_bytes(b"no image")
    _, out, _ = run(file_path=tmp_path / "bad")
    assert ", 0.0 images/s; " in out


def test_draw_writes_a_picture_beside_each_prediction_file(run, photos, tmp_path):
    code, _, error = run("--draw", "--draw_threshold", "0.6")
    assert (code, error) == (0, "")
    assert written(tmp_path / "out", ".jpg") == written(tmp_path / "out") == NAMES
    source, picture = (
        cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        for path in (photos / "images" / "top.PNG", tmp_path / "out" / "top.jpg")
    )
    assert picture.shape == source.shape
    assert np.abs(picture.astype(int) - source).max() > 100


def test_draw_never_overwrites_an_image(run, refused, photos):
    before = (photos / "images" / "0--Parade" / "a b.jpg").read_bytes()
    said = run("--draw", how=refused, save_dir=photos / "images")
    assert "--draw would overwrite" in said
    assert (photos / "images" / "0--Parade" / "a b.jpg").read_bytes() == before


def test_thresholds_are_arguments(run, tmp_path):
    run("--max_detections", 3, save_dir=tmp_path / "few")
    assert all(len(read_predictions(tmp_path / "few" / f"{name}.txt").scores) == 3 for name in NAMES)
    run("--confidence_threshold", 1, save_dir=tmp_path / "none")
    assert (tmp_path / "none" / "top.txt").read_text() == "top\n0\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "3"], "device: got 3; the devices here: 0 ("),
        (["--device_id", "-1"], "device: got -1; the devices here: 0 ("),
        (["--device", "0,99"], "device: got 0, 99; the devices here: 0 ("),
        (["--device", "cpu"], "argument --device/--device_id: got 'cpu', expected the number of a device, or several"),
        (["--batch", "4"], "batch 4: "),
        (["--max_detections", "100000"], "max_detections: got 100000, expected a whole number from 1 to 5000"),
        (["--max_detections", "0"], "argument --max_detections: got '0', expected a whole number from 1"),
        (
            ["--confidence_threshold", "1.5"],
            "argument --confidence_threshold: got '1.5', expected a number from 0 to 1",
        ),
        (["--nms_threshold", "nan"], "argument --nms_threshold: got 'nan'"),
        (["--draw_threshold", "x"], "argument --draw_threshold: got 'x'"),
        (["--draw_threshold", "0.6"], "--draw_threshold needs --draw: without it no picture is written"),
        (["--decoders", "100000"], "argument --decoders: got '100000', expected a whole number from 1 to 256"),
        (["--scale", "3"], "argument --scale: got 3, expected a number from 0.1 to 2"),
        (["--scale", "small"], "argument --scale: got 'small', expected a number such as 0.4"),
        (["--threads", "200"], "threads: got 200, this process can use"),
        (["--vdsp_params_info", "nowhere.json"], "nowhere.json: there is no such file"),
        (
            ["--vdsp_params_info", "vdsp_params/official-retinaface_resnet50-vdsp_params.json"],
            "makes a canvas of 640x640",
        ),
    ],
)
def test_wrong_options_are_one_sentence(run, refused, monkeypatch, tmp_path, words, said):
    monkeypatch.chdir(tmp_path)
    assert said in run(*words, how=refused)
    assert not (tmp_path / "out").exists()


def test_wrong_paths_are_one_sentence(run, refused, tmp_path):
    assert "there is no such file or folder" in run(how=refused, file_path=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "has no image in it or below" in run(how=refused, file_path=tmp_path / "empty")
    words = ("--file_path", tmp_path / "photos", "--save_dir", tmp_path / "out")
    assert "no artifact at" in refused("run", *words, "--model_prefix_path", tmp_path / "mod")


def test_results_that_cannot_be_written_end_the_run_with_one_sentence(run, refused, full_disk, tmp_path):
    (tmp_path / "taken").touch()
    assert "cannot be written (Not a directory)" in run(how=refused, save_dir=tmp_path / "taken" / "out") or (
        "cannot be written (File exists)" in run(how=refused, save_dir=tmp_path / "taken")
    )
    with full_disk(1500):  # The journal's header fits, the first prediction file does not.
        assert ".txt: cannot be written (File too large)" in run(how=refused, save_dir=tmp_path / "full")
    left = [path.name for path in (tmp_path / "full").rglob("*") if path.is_file()]
    assert left == ["run.journal"], "nothing half written is left"


def test_json_that_normalizes_otherwise_is_followed_and_a_line_says_so(run, other_json):
    code, out, error = run("--vdsp_params_info", other_json)
    assert (code, out.split(", ")[0]) == (0, "6 images")
    assert error.startswith(
        "the vdsp JSON normalizes as RGB (pixel / 1 - [0, 0, 0]) / [1, 1, 1], the artifact was built"
    )


def test_entry_of_the_checkout_runs_from_anywhere_until_it_is_interrupted(
    start, repository, tiny_artifact, photos, tmp_path
):
    (tmp_path / "many").mkdir()
    for number in range(4000):
        (tmp_path / "many" / f"{number}.png").symlink_to(photos / "images" / "top.PNG")
    entry = repository / "build_in" / "vsx" / "python" / "vsx.py"
    model = os.path.relpath(tiny_artifact.prefix, tmp_path)
    words = ("--file_path", "many", "--model_prefix_path", model, "--save_dir", "out", "--device", "0")
    process = start(sys.executable, entry, *words)
    deadline = time.monotonic() + 120
    while not (tmp_path / "out" / "1.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out, error) == (130, "", "vsx.py: interrupted\n")
    assert 0 < len(list((tmp_path / "out").iterdir())) < 4000
    assert not list((tmp_path / "out").glob(".partial-*"))
    assert len(read_predictions(tmp_path / "out" / "1.txt").scores) > 0


def test_images_at_a_scale_are_those_that_a_canvas_has_room_for(run, photos, tiny_artifact, tmp_path):
    """Of 60x190 px and higher and narrower ones, on a canvas of 96x128."""
    code, out, error = run("--scale", "0.7")
    detector = FaceDetector.from_artifact(tiny_artifact.prefix, scale=0.7)
    sizes = {path: cv2.imread(str(path)).shape for path in photos.rglob("*.*")}
    having_room = [
        path for path, shape in sizes.items() if round(shape[0] * 0.7) <= 96 and round(shape[1] * 0.7) <= 128
    ]
    assert 0 < len(having_room) < len(sizes)
    assert code == 1
    assert error.count("has no room for it: take a lower scale") == len(sizes) - len(having_room)
    assert out.startswith(f"{len(having_room)} images, {sum(len(detector.detect(path)) for path in having_room)} boxes")
    code, out, error = run("--scale", "0.6", save_dir=tmp_path / "smaller")
    assert (code, error) == (0, "")
    assert out.startswith(f"{len(sizes)} images")
