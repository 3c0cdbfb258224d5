"""`facedeploy compare`: layers of an artifact beside those of the float ONNX, and of a file that is another."""

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="comparing reads ONNX graphs")
pytest.importorskip("onnxruntime", reason="comparing runs ONNX graphs")

from onnx import numpy_helper  # noqa: E402

HEADS = {"loc", "conf", "landms"}


@pytest.fixture
def compared(command, photos, tmp_path):
    """The JSON of a comparison, and what was printed."""

    def run(prefix, file, *options):
        words = ("compare", prefix, "--onnx", file, "--images", photos, "--json", tmp_path / "c.json", *options)
        code, out, error = command(*words)
        assert code == 0, error
        return json.loads((tmp_path / "c.json").read_text()), out

    return run


@pytest.fixture
def int8_prefix(command, int8_words, tmp_path):
    assert command(*int8_words("compile", {}, "--no-speed"))[0] == 0
    return tmp_path / "workspace/tiny/mod"


def test_float_artifact_is_the_float_model(tiny_artifact, compared):
    data, out = compared(tiny_artifact.prefix, tiny_artifact.onnx)
    assert data["images"] == 6
    assert data["layers"]
    for error in (*data["layers"], *data["outputs"]):
        assert error["snr"] is None or error["snr"] > 80
        assert error["cosine"] == pytest.approx(1, abs=1e-6)
    assert {error["layer"] for error in data["outputs"]} == HEADS
    # Each convolution is compared behind its activation, since that is in its kernel.
    assert all(error["tensor"] == error["layer"].replace("conv", "level") for error in data["layers"])
    faces = data["faces"]
    assert faces["matched"] == faces["expected"] > 10
    assert (faces["iou"], faces["score_error"]) == (pytest.approx(1, abs=1e-4), pytest.approx(0, abs=1e-5))
    assert faces["landmark_nme"] == pytest.approx(0, abs=1e-5)
    assert f"{faces['matched']} of the float model's {faces['expected']} of score 0.5 or more found" in out


def test_int8_artifact_is_near_with_the_worst_layer_first(tiny_artifact, int8_prefix, compared):
    data, out = compared(int8_prefix, tiny_artifact.onnx, "--count", "3")
    assert data["images"] == 3
    ratios = [error["snr"] for error in data["layers"]]
    assert ratios == sorted(ratios)
    # Equalization divides channels by factors of their own, which must be undone: else no layer is near.
    assert all(15 < ratio < 70 for ratio in ratios)
    rows = [line.split() for line in out.splitlines() if line.split()[2:3] and line.split()[2] != "layer"]
    names = [row[2] for row in rows if row[2] in {error["layer"] for error in data["layers"]}]
    assert names == [error["layer"] for error in data["layers"]]


def test_only_layers_from_a_changed_one_on_are_far(tiny_artifact, compared, tmp_path):
    model = onnx.load(tiny_artifact.onnx)
    weights = next(entry for entry in model.graph.initializer if entry.name == "conv3.w")
    weights.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weights), "conv3.w"))
    onnx.save(model, tmp_path / "changed.onnx")
    data, _ = compared(tiny_artifact.prefix, tmp_path / "changed.onnx")
    for error in data["layers"]:
        assert (error["snr"] is None or error["snr"] > 80) == (error["layer"] < "conv3"), error


def test_batch_is_filled_up(compile_tiny, tiny_artifact, compared):
    data, _ = compared(compile_tiny(4).prefix, compile_tiny(4).onnx)
    one, _ = compared(tiny_artifact.prefix, tiny_artifact.onnx)
    assert data["images"] == one["images"] == 6
    assert data["faces"]["expected"] == one["faces"]["expected"]
    assert np.isfinite([error["snr"] or 0 for error in data["layers"]]).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda model: model.graph.node[0].output.__setitem__(0, "renamed"), "cannot run"),
        (lambda model: model.graph.output[0].__setattr__("name", "boxes"), "cannot run"),
        (lambda model: model.graph.output.pop(0), "has the outputs conf, landms, the artifact loc, conf, landms"),
        (
            lambda model: model.graph.input[0].type.tensor_type.shape.dim[2].__setattr__("dim_value", 64),
            "takes [1, 3, 64, 128], the artifact [1, 3, 96, 128]",
        ),
    ],
)
def test_another_file_is_one_sentence(command, tiny_artifact, photos, tmp_path, change, said):
    model = onnx.load(tiny_artifact.onnx)
    change(model)
    onnx.save(model, tmp_path / "other.onnx")
    code, _, error = command(
        "compare", tiny_artifact.prefix, "--onnx", tmp_path / "other.onnx", "--images", photos, "--count", "1"
    )
    assert code == 2
    assert said in error
    assert "Traceback" not in error


def test_file_that_is_no_onnx_or_has_other_layers_is_one_sentence(command, tiny_artifact, photos, tmp_path):
    (tmp_path / "none.onnx").write_bytes(b"none")
    model = onnx.load(tiny_artifact.onnx)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == "conv2":
                    names[place] = "other"
    onnx.save(model, tmp_path / "other.onnx")
    words = ("--images", photos, "--onnx")
    for file, said in (
        ("none.onnx", "cannot be read as ONNX"),
        ("missing.onnx", "cannot be read as ONNX"),
        ("other.onnx", "has no convolution conv2, which"),
    ):
        code, _, error = command("compare", tiny_artifact.prefix, *words, tmp_path / file)
        assert code == 2
        assert said in error
