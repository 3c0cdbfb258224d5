"""`facedeploy latency` on the tiny net: what is compiled, kept and printed; never how fast it is."""

import json
import shutil
from typing import get_args

import numpy as np
import pytest

from facedeploy.artifact.store import open_artifact
from facedeploy.cli.latency import DTYPES
from facedeploy.compiler import build
from facedeploy.config.build_config import Precision
from facedeploy.core.errors import ArtifactError, CheckpointError, CompileError

pytest.importorskip("onnx", reason="compiling reads ONNX graphs")

QUICK = ("--threads", "1", "--iterations", "20")


@pytest.fixture
def words(tiny_artifact, tmp_path):
    """A command line that keeps what it compiles in the test's own folder."""

    def make(*more):
        yaml = tiny_artifact.onnx.with_name("tiny.yaml")
        return "latency", "--config", yaml, "--set", f"workspace.path={tmp_path / 'workspace'}", *QUICK, *more

    return make


@pytest.fixture
def compiled(monkeypatch):
    """The canvases (height, width) that were compiled."""
    seen = []
    compile_model = build.compile_model

    def watch(config, **options):
        seen.append(config.frontend.canvas_hw)
        return compile_model(config, **options)

    monkeypatch.setattr("facedeploy.analysis.latency.compile_model", watch)
    return seen


def test_each_size_is_compiled_once_and_exactly(command, refused, words, compiled, monkeypatch, tmp_path):
    sizes = ("--sizes", "160x140", "100x90")
    code, out, error = command(*words(*sizes, "--json", tmp_path / "l.json"))
    assert code == 0, error
    assert compiled == [(140, 160), (90, 100)]
    kept = {path.name.rpartition("_")[0]: path for path in (tmp_path / "workspace/.latency").iterdir()}
    assert set(kept) == {"tiny_160x140", "tiny_100x90"}
    for name, folder in kept.items():
        width, height = map(int, name.removeprefix("tiny_").split("x"))
        assert open_artifact(folder).manifest.base.input.shape == (1, 3, height, width)
    rows = [line for line in out.splitlines() if line.startswith(("| 160x140 |", "| 100x90 |"))]
    assert len(rows) == 4
    assert out.count("| width x height | tiny fp32 |") == 2
    assert "| LFFD v1 | NVIDIA Jetson Nano | TensorRT 5.1 | model | 12.94 |" in out
    for part in ("1 thread,", "medians of 20 calls", "sizes are width x height, px"):
        assert part in out

    data = json.loads((tmp_path / "l.json").read_text())
    assert [(each["size_wh"], each["detector"]) for each in data["latencies"]] == [
        ([160, 140], "tiny fp32"), ([100, 90], "tiny fp32"),
    ]  # fmt: skip
    for each, row in zip(data["latencies"], rows, strict=False):
        assert f"| {each['model_ms']:.2f} (" in row
        assert 0 < each["model_ms"] < each["whole_ms"]

    def stop(config, **options):
        raise CompileError("compiled again")

    monkeypatch.setattr("facedeploy.analysis.latency.compile_model", stop)
    assert command(*words(*sizes))[0] == 0, "nothing is compiled"
    again = "--sizes 100x90: compiled again"
    assert refused(*words("--sizes", "100x90", "--recompile")).endswith(again)
    assert refused(*words("--sizes", "100x90", "--set", "graph.extra_ops.params.nms_threshold=0.3")).endswith(again)
    code = kept["tiny_100x90"] / "mod.so"
    code.unlink()  # Not written over, for this process has it loaded.
    code.write_bytes(b"damaged")
    assert refused(*words("--sizes", "100x90")).endswith(again)


def test_precisions_are_columns(command, int8_words, compiled, tmp_path):
    pytest.importorskip("onnxruntime", reason="calibration runs ONNX graphs")
    _, yaml, *settings = int8_words("latency", {"backend.dtype": "int8"})
    words = ("latency", "--config", yaml, *settings, *QUICK, "--sizes", "100x90")
    code, out, error = command(*words, "--dtype", "int8", "fp32", "--json", tmp_path / "l.json")
    assert code == 0, error
    assert "| width x height | tiny int8 | tiny fp32 |" in out
    assert compiled == [(90, 100)] * 2
    dtypes = {open_artifact(path).manifest.dtype for path in (tmp_path / "workspace/.latency").iterdir()}
    assert dtypes == {"int8", "fp32"}
    assert len(json.loads((tmp_path / "l.json").read_text())["latencies"]) == 2


def test_mistakes_are_one_sentence(refused, words, tiny_artifact, tmp_path):
    assert "got '640', expected WIDTHxHEIGHT in px, such as 640x480" in refused(*words("--sizes", "640"))
    assert "expected WIDTHxHEIGHT in px" in refused(*words("--sizes", "640x20000"))
    assert "threads: got 256, this process can use" in refused(*words("--threads", "256"))
    assert "--iterations: got 19, a median takes 20 or more" in refused(*words("--iterations", "19"))
    assert "got suffix '.gif'" in refused(*words("--plot", tmp_path / "l.gif"))
    yaml = tiny_artifact.onnx.with_name("tiny.yaml")
    twice = refused("latency", "--config", yaml, yaml)
    assert f"{yaml} would be a second column tiny fp32: give each config another name" in twice
    assert "no.yaml: there is no such file" in refused("latency", "--config", "no.yaml")


def test_precision_that_the_config_lacks_settings_for_is_refused(command, words):
    code, _, error = command(*words("--dtype", "int8"))
    assert code == 2
    assert "backend.quantize: is missing, backend.dtype int8 needs it" in error


@pytest.fixture
def fixed_rows(tiny_artifact, tmp_path):
    """A setting: the tiny net, which now looks at its first 96 rows and so can have no other number of them."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(tiny_artifact.onnx)
    for name, number in (("first", 0), ("last", 96), ("axis", 2)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([number]), name))
    model.graph.node[0].input[0] = "rows"
    model.graph.node.insert(0, helper.make_node("Slice", ["input", "first", "last", "axis"], ["rows"]))
    onnx.save(model, tmp_path / "fixed.onnx")
    return f"frontend.checkpoint={tmp_path / 'fixed.onnx'}"


def test_sizes_that_the_model_cannot_have_are_a_line_each_when_there_is_no_other(command, words, fixed_rows):
    code, out, error = command(*words("--sizes", "100x90", "128x80", "--set", fixed_rows))
    assert code == 2
    assert "|" not in out
    first, second = error.splitlines()
    assert "error: --sizes 100x90: " in first
    assert "fixed.onnx cannot be had for [1, 3, 90, 100]: the Slice rows may count what changes" in first
    assert second.startswith("--sizes 128x80: ")
    assert "frontend.ladder" not in error, "a key that nobody has given"


def test_a_size_that_one_model_cannot_have_leaves_the_others(command, words, fixed_rows, tiny_artifact, tmp_path):
    pytest.importorskip("matplotlib", reason="plots need matplotlib (extra eval)")
    line = words("--sizes", "128x96", "100x90", "--set", fixed_rows, "--json", tmp_path / "l.json")
    code, out, error = command(*line, "--plot", tmp_path / "l.png")
    assert code == 1
    assert out.count("| 100x90 | - |") == 2
    assert len([row for row in out.splitlines() if row.startswith("| 128x96 | ") and " | - |" not in row]) == 2
    counted, reason = error.splitlines()
    assert counted == "1 of 2 failed:"
    assert reason.startswith(f"  tiny fp32: --sizes 100x90: {tmp_path / 'fixed.onnx'} cannot be had for ")
    measured, failed = json.loads((tmp_path / "l.json").read_text())["latencies"]
    assert measured["model_ms"] > 0
    assert (failed["size_wh"], failed["model_ms"]) == ([100, 90], None)
    assert f"  tiny fp32: {failed['reason']}" == reason
    assert (tmp_path / "l.png").stat().st_size > 1000


@pytest.mark.parametrize("error", [CheckpointError, CompileError, ArtifactError])
def test_whatever_is_wrong_with_a_size_names_it(command, words, monkeypatch, error):
    compile_model = build.compile_model

    def stop(config, **options):
        if config.frontend.canvas_hw == (16, 20):
            raise error("too small")
        return compile_model(config, **options)

    monkeypatch.setattr("facedeploy.analysis.latency.compile_model", stop)
    code, out, said = command(*words("--sizes", "20x16", "100x90"))
    assert code == 1
    assert said.splitlines()[1:] == ["  tiny fp32: --sizes 20x16: too small"]
    assert "| 20x16 | - |" in out


def test_what_concerns_all_sizes_ends_it_before_anything_is_compiled(
    refused, int8_words, words, compiled, tiny_artifact, tmp_path
):
    yaml = tiny_artifact.onnx.with_name("tiny.yaml")
    other = tmp_path / "other.yaml"
    shutil.copy(yaml, other)
    other.write_text(yaml.read_text().replace("name: tiny", "name: other").replace("/tiny.onnx", "/none.onnx"))
    two = [word for each in words() for word in ((each, other) if each == yaml else (each,))]
    assert "none.onnx does not exist" in refused(*two)
    message = refused(*words("--set", "frontend.shape={image: [1, 3, 96, 128]}"))
    assert message.startswith("frontend.shape: got an input 'image', ")
    _, yaml, *settings = int8_words("latency", {"dataset.path": tmp_path / "nowhere"})
    assert "nowhere" in (said := refused("latency", "--config", yaml, *settings, *QUICK))
    assert "--sizes" not in said
    assert compiled == []


def test_precisions_of_the_option_are_the_configs():
    assert get_args(Precision) == DTYPES


def test_scales_are_canvases_of_so_many_times_each_size(command, words, compiled):
    scales = ("--scales", "0.5", "1", "0.5")
    code, out, error = command(*words("--sizes", "128x97", "90x100", *scales))
    assert code == 0, error
    assert compiled == [(48, 64), (97, 128), (50, 45), (100, 90)]
    rows = [line.split()[1] for line in out.splitlines() if line.startswith("| ") and "x" in line.split()[1]]
    assert rows[:4] == ["64x48", "128x97", "45x50", "90x100"]


def test_scales_are_of_vga_unless_sizes_are_given(command, words, compiled):
    code, out, error = command(*words("--scales", "0.1"))
    assert code == 0, error
    assert compiled == [(48, 64)]
    assert "faster-mobile-retinaface | NVIDIA GTX 1660 Ti" in out


@pytest.mark.parametrize("scale", ["0.05", "2.5", "nan", "much"])
def test_what_is_no_scale_is_one_sentence(refused, words, scale):
    assert "argument --scales: " in (said := refused(*words("--scales", scale)))
    assert said.endswith("from 0.1 to 2") or f"got '{scale}', expected a number such as 0.4" in said
