"""`facedeploy compile` with backend.quantize.max_drop: what it builds, what it says, its errors."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="quantizing rewrites ONNX graphs")
pytest.importorskip("onnxruntime", reason="quantizing runs ONNX graphs")
pytest.importorskip("scipy", reason="ground truth is .mat files")

from facedeploy.artifact.store import open_artifact
from facedeploy.image.dataset import list_images
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.widerface.ground_truth import write_ground_truth

CONVOLUTIONS = 14  # Of the tiny net; those that the config keeps in float need no search:
SKIPPED = ["landms*", "loc*", "conf*", 0]
LEFT = CONVOLUTIONS - 10
FACES = 20  # Of the float artifact's best boxes of an image, that count as its faces.


@pytest.fixture
def faces(tiny_artifact, tmp_path):
    """Images whose faces are what the float artifact finds, so that it loses least, and rounding shows."""
    folder, random = tmp_path / "faces", np.random.default_rng(0)
    for number in range(4):
        pixels = cv2.resize(random.integers(0, 256, (9, 12, 3), np.uint8), (128, 96), interpolation=cv2.INTER_CUBIC)
        path = folder / f"images/{number % 2}--Event/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pixels)
    detector, boxes = FaceDetector.from_artifact(tiny_artifact.prefix), {}
    for image in list_images(folder):
        best = detector.detect(image.path).boxes[:FACES].astype(np.float64)
        boxes[image.name] = np.column_stack([best[:, :2], best[:, 2:] - best[:, :2]])
    indices = {name: list(range(len(found))) for name, found in boxes.items()}
    assert all(indices.values())
    write_ground_truth(folder / "ground_truth", boxes, easy=indices, medium=indices, hard=indices)
    return folder


@pytest.fixture
def words(int8_words, faces):
    """A command line that compiles the tiny net within a drop, calibrated on the .jpg photos, with more overrides."""
    # One scale for all channels of a tensor: coarse enough for AP to show it.
    quantize = {
        "quantize_per_channel": False,
        "skip_conv_layers": SKIPPED,
        "evaluate": {"images": f"{faces}", "ground_truth": f"{faces}/ground_truth"},
    }

    def make(max_drop, *overrides, **options):
        settings = {"backend.quantize": json.dumps(quantize | {"max_drop": max_drop} | options)}
        return int8_words("compile", settings | dict(override.split("=", 1) for override in overrides))

    return make


@pytest.fixture
def accuracy(command, faces, tmp_path):
    """AP of an artifact by the documented commands, easy, medium, hard, in %."""

    def measure(prefix):
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        assert command("run", "--file_path", faces, "--model_prefix_path", prefix, "--save_dir", out)[0] == 0
        assert command("eval", "-p", out, "-g", faces / "ground_truth", "--json", out / "ap.json")[0] == 0
        found = json.loads((out / "ap.json").read_text())
        return np.array([100 * found[level] for level in ("easy", "medium", "hard")])

    return measure


def rows(out):
    """The table: number of layers in float (None for fp32) -> AP, drop."""
    pattern = r"^ *(?:(\d+) of \d+|fp32)  +([\d.]+) / ([\d.]+) / ([\d.]+) +(-?[\d.]+) +[\d.]+ +[\d.]+(?:  \*)?$"
    found = re.findall(pattern, out, re.MULTILINE)
    return {int(count) if count else None: tuple(map(float, values)) for count, *values in found}


def test_fewest_layers_that_meet_it_stay_float_and_can_be_had_again(command, words, accuracy, tiny_artifact, tmp_path):
    # Names of their own: a process that has loaded a library gets it again by its path, whatever is there by then.
    code, out, error = command(*words(100, "name=all"))
    assert (code, error) == (0, ""), out
    assert f"100 is met with 0 of {LEFT} convolutions kept in float\n" in out
    assert f"layers  {LEFT} of {CONVOLUTIONS} convolutions in int8\n" in out
    assert "ranking" not in out
    assert "skip_conv_layers" not in out
    assert set(rows(out)) == {0, None}
    exact, loss = accuracy(tiny_artifact.prefix), rows(out)[0][-1]
    assert rows(out)[None] == pytest.approx((*exact, 0), abs=0.0051)
    assert loss == pytest.approx((exact - accuracy(tmp_path / "workspace/all/mod")).max(), abs=0.0051)
    assert loss > 0.5, "else there is nothing to search for"

    allowed, prefix = round(loss / 3, 3), tmp_path / "workspace/tiny/mod"
    code, out, error = command(*words(allowed))
    assert (code, error) == (0, ""), out
    (chosen, names) = re.search(rf"is met with (\d+) of {LEFT} .* in float, by name: (.*)\n", out).groups()
    names, measured = names.split(", "), rows(out)
    assert len(names) == int(chosen) > 0
    assert min(count for count in measured if count is not None and measured[count][-1] <= allowed) == int(chosen)
    assert {0, int(chosen) - 1} <= set(measured), "that one fewer is too few is measured"
    found = accuracy(prefix)
    assert (exact - found).max() <= allowed
    assert measured[int(chosen)][:3] == pytest.approx(tuple(found), abs=0.0051)
    assert re.search(r"^speed   int8 [0-9.]+ ms, fp32 ", out, re.MULTILINE)
    assert sorted(path.name for path in prefix.parent.iterdir()) == ["mod.json", "mod.params", "mod.so"]
    assert sorted(path.name for path in (tmp_path / "workspace").iterdir()) == [".ranges", "all", "tiny"]

    made = open_artifact(prefix).manifest
    (pasted,) = re.findall(r"^skip_conv_layers: (.*)$", out, re.MULTILINE)
    again = f"backend.quantize={{quantize_per_channel: false, skip_conv_layers: {pasted}}}"
    assert json.loads(pasted) == [*SKIPPED, *names]
    assert command(*words(0, again), "--no-speed")[0] == 0
    assert open_artifact(prefix).manifest == made


def test_drop_that_no_build_meets_is_one_sentence_and_leaves_what_was_there(
    command, words, tmp_path, monkeypatch, capsys
):
    # A float build whose AP no other reaches.
    from facedeploy.analysis import reference

    measure = reference.measure_accuracy

    def flattering(prefix, images, ground_truth):
        found = measure(prefix, images, ground_truth)
        return type(found)(**{**vars(found), "hard": 2.0}) if prefix.parent.name == "fp32" else found

    monkeypatch.setattr(reference, "measure_accuracy", flattering)
    before = tmp_path / "workspace/tiny/mod.json"
    before.parent.mkdir(parents=True)
    before.write_text("before")
    code, out, error = command(*words(0.25, skip_conv_layers=[*SKIPPED, "conv1", "conv2"]))
    assert code == 2
    assert set(rows(out)) == {0, 1, 2, None}
    count, drop = min(((count, row[-1]) for count, row in rows(out).items() if count is not None), key=lambda e: e[1])
    (line,) = error.splitlines()
    assert "backend.quantize.max_drop: got 0.25, but no build loses so little: the nearest keeps " in line
    loses = re.search(r"keeps (\d+) of 2 convolutions in float and loses ([\d.]+) AP points; nothing is written", line)
    assert (int(loses[1]), float(loses[2])) == (count, pytest.approx(drop, rel=0.01))
    assert [path.name for path in before.parent.iterdir()] == ["mod.json"]
    assert before.read_text() == "before"


def test_mistakes_are_one_sentence(refused, words, faces, photos, tiny_artifact, tmp_path):
    def evaluate(images, ground_truth=faces / "ground_truth"):
        return words(1, evaluate={"images": f"{images}", "ground_truth": f"{ground_truth}"})

    assert "no convolution of the model is called 'conv9'" in refused(*words(1, skip_conv_layers=["conv9"]))
    assert "backend.quantize.evaluate.images: nowhere: there is no such file or folder" in refused(*evaluate("nowhere"))
    said = refused(*evaluate(faces, tmp_path))
    assert said.startswith("backend.quantize.evaluate.ground_truth: ")
    said = refused(*evaluate(photos))
    assert said.startswith(f"backend.quantize.evaluate.images: {photos} lacks 4 of the 4 images of ")
    calibrated = next(photos.rglob("*.jpg"))
    same = next(faces.rglob("*.png"))
    original = same.read_bytes()
    same.write_bytes(calibrated.read_bytes())
    assert refused(*words(1)).startswith("dataset.path: 1 of the 3 calibration images are also evaluated")
    same.write_bytes(b"no image")
    assert str(same) in refused(*words(1))
    same.write_bytes(original)
    nowhere = {image.name: np.array([[900.0, 900.0, 50.0, 50.0]]) for image in list_images(faces)}
    counted = {name: [0] for name in nowhere}
    write_ground_truth(tmp_path / "none", nowhere, easy=counted, medium=counted, hard=counted)
    assert "fp32 itself finds none of the faces of" in refused(*evaluate(faces, tmp_path / "none"))
    assert not (tmp_path / "workspace/tiny").exists()


def test_model_that_is_quantized_already_and_the_verb_quantize_say_that_they_do_not_search(
    command, refused, words, tmp_path
):
    _, *settings = words(1)
    output = tmp_path / "quantized.onnx"
    code, out, _ = command("quantize", *settings, "--output", output)
    assert code == 0
    assert "backend.quantize.max_drop: only the command compile keeps layers in float for it" in out
    said = refused(*words(1, f"frontend.checkpoint={output}"))
    assert said.startswith(f"backend.quantize.max_drop: {output} is quantized already")
