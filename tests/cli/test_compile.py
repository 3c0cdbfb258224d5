"""`vamc compile` as a person runs it: from another folder, with --set, its lines and its errors."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from facedeploy.artifact.store import open_artifact
from facedeploy.cli.main import main, run_verb
from facedeploy.cli.vamc import main as vamc
from facedeploy.export.export_model import export_model
from facedeploy.export.random_weights import random_weights
from facedeploy.models.specs import MODELS

SHIPPED = "build_in/build/official_retinaface.yaml"
SMALL = ["frontend.shape.input=[1, 3, 64, 96]", "dataset.process_ops.2.size=[96, 64]"]
SMALL += ["dataset.process_ops.3={type: Pad, size: [96, 64]}"]


def run(cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "facedeploy.cli.vamc", *options],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def sets(*overrides: str) -> list[str]:
    return [option for override in overrides for option in ("--set", override)]


def error_of(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What `vamc compile` says on stderr, less its name; it exits with 2, and writes nothing to the current folder."""
    assert vamc(["compile", *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith("vamc compile: error: ")
    assert "Traceback" not in said
    assert not list(Path.cwd().iterdir())
    return said.removeprefix("vamc compile: error: ").rstrip("\n")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec, folder = MODELS["mobilenet0.25"], tmp_path_factory.mktemp("export")
    return export_model(spec, (64, 96), weights=random_weights(spec, 0), output_dir=folder).onnx.path


def test_shipped_config_compiles_from_another_folder_with_set(checkpoint: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "compile", SHIPPED, *sets(f"frontend.checkpoint={checkpoint}", "name=small", *SMALL))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, *lines, last = done.stdout.splitlines()
    assert first.startswith(f"{SHIPPED} is not under the current directory; using the shipped /")
    assert lines[:5] == [
        "input   input float32[1,3,64,96]",
        "output  loc float32[1,252,4]",
        "output  conf float32[1,252,2]",
        "output  landms float32[1,252,10]",
        "post    retinaface_nms: confidence 0.02, NMS 0.4, 750 slots",
    ]
    assert re.fullmatch(r"target  \S+, fp32", lines[5])
    assert lines[6] == "compute float32, float weights stored as float32"
    assert [re.sub(r" \([\d,]+ bytes\)$", " (N bytes)", line) for line in lines[7:]] == [
        "wrote   deploy_weights/small/mod.so (N bytes)",
        "wrote   deploy_weights/small/mod.params (N bytes)",
        "wrote   deploy_weights/small/mod.json",
    ]
    assert re.fullmatch(r"compiled small in \d+\.\d s; prefix: deploy_weights/small/mod", last)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["mod.json", "mod.params", "mod.so"]
    manifest = open_artifact(tmp_path / "deploy_weights" / "small" / "mod").manifest
    assert manifest.name == "small"
    assert manifest.base.canvas_hw == (64, 96)
    assert manifest.normalization is not None
    assert manifest.normalization.color_order == "BGR"


@pytest.mark.parametrize(("config", "stored"), [("mobilenet0.25_fp16", "float16"), ("mobilenet0.25_bf16", "bfloat16")])
def test_shipped_config_of_half_precision_says_what_it_means(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, checkpoint: Path, config: str, stored: str
) -> None:
    overrides = sets(f"frontend.checkpoint={checkpoint}", "backend.target=x86-64-v3", *SMALL)
    assert vamc(["compile", f"build_in/build/{config}.yaml", *overrides]) == 0
    lines = capsys.readouterr().out.splitlines()
    (note,) = (line for line in lines if line.startswith("backend.dtype"))
    lacking = {"float16": "AMX-FP16 and AVX512-FP16", "bfloat16": "AMX-BF16"}[stored]
    assert f"not faster than fp32, since x86-64-v3 lacks {lacking}; weights are stored as {stored}" in note
    assert f"target  x86-64-v3, {config.partition('_')[2]}" in lines
    assert f"compute float32, float weights stored as {stored}" in lines
    manifest = open_artifact(elsewhere / "deploy_weights" / config / "mod").manifest
    assert (manifest.arithmetic, manifest.weights.dtype) == ("float32", stored)


def test_missing_checkpoint_exits_with_two_and_no_traceback(tmp_path: Path) -> None:
    done = run(tmp_path, "compile", SHIPPED)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "vamc compile: error: frontend.checkpoint: export_model/mobilenet0.25_640.onnx does not exist "
        f"(current directory: {tmp_path}); "
    )
    assert "python export.py" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", [SHIPPED, f"../{SHIPPED}", "build_in/build/resnet50_fp32.yaml"])
def test_shipped_config_is_found_by_its_documented_name(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, path: str
) -> None:
    assert vamc(["compile", path]) == 2
    said = capsys.readouterr()
    assert f"{path} is not under the current directory; using the shipped" in said.out
    assert "_640.onnx does not exist" in said.err


def test_config_under_the_current_folder_goes_before_the_shipped_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / SHIPPED).parent.mkdir(parents=True)
    (tmp_path / SHIPPED).write_text((repository / SHIPPED).read_text().replace("mobilenet0.25_640", "mine"))
    monkeypatch.chdir(tmp_path)
    assert vamc(["compile", SHIPPED]) == 2
    said = capsys.readouterr()
    assert "shipped" not in said.out
    assert "export_model/mine.onnx does not exist" in said.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["no.yaml"], "no.yaml: there is no such file (the current folder is "),
        (["offical_retinaface.yaml"], "facedeploy has build_in/build/official_retinaface.yaml"),
        ([SHIPPED, "--set", "frontend"], "--set frontend: expected section.key=value"),
        ([SHIPPED, "--set", "backend.dtpe=fp32"], "backend.dtpe: unknown key, did you mean dtype?"),
        ([SHIPPED, "--set", "backend.target=avx512"], "backend.target: got 'avx512', expected host, x86-64-v4"),
        ([SHIPPED, "--set", "frontend.checkpoint=."], "frontend.checkpoint: . is a folder"),
        ([SHIPPED, "--set", "frontend.shape.input=[1, 3, 320, 320]"], "these must agree"),
    ],
)
def test_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, options: list[str], said: str
) -> None:
    message = error_of(capsys, *options)
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["graph.extra_ops.params.anchor=[16, 32, 64, 128]", "graph.extra_ops.params.strides=[8, 16]"], "240 priors"),
        (["frontend.shape={data: [1, 3, 64, 96]}"], "got an input 'data'"),
        (["frontend.shape.input=[2, 3, 64, 96]"], "frontend.shape.input: got [2, 3, 64, 96]"),
    ],
)
def test_config_that_does_not_suit_the_model_is_one_line(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, checkpoint: Path, overrides: list[str], said: str
) -> None:
    message = error_of(capsys, SHIPPED, *sets(f"frontend.checkpoint={checkpoint}", *SMALL, *overrides))
    assert said in message
    assert "\n" not in message


def test_reference_s_own_config_meets_helpful_sentences(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, shared_data: Path
) -> None:
    config = str(shared_data / "data" / "reference_configs" / "official_retinaface.yaml")
    assert vamc(["compile", config]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "backend.type: tvm_vacc means tvm here",
        "backend.compile.data_transport_mode: the vendor's hardware reads it; it does nothing here",
        "backend.compile.cluster_mode: the vendor's hardware reads it; it does nothing here",
    ]
    message = "frontend.checkpoint: /path/to/retinaface_resnet50-640.onnx does not exist (current "
    assert said.err.startswith(f"vamc compile: error: {message}")
    assert said.err.count("\n") == 1


def test_usage_is_told_without_loading_the_compiler(tmp_path: Path) -> None:
    code = (
        "import sys; from facedeploy.cli.vamc import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print('tvm' in sys.modules, 'onnx' in sys.modules)"
    )
    for options, exit_code in (["--help"], 0), (["compile", "--help"], 0), ([], 2), (["compil"], 2), (["compile"], 2):
        done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, check=False)
        assert done.returncode == exit_code
        assert done.stdout.splitlines()[-1] == "False False"
        assert "usage: vamc" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_facedeploy_compile_is_the_same_verb(capsys: pytest.CaptureFixture[str], elsewhere: Path) -> None:
    for run_it in (lambda: run_verb("compile", ["no.yaml"]), lambda: main(["compile", "no.yaml"])):
        assert run_it() == 2
        assert "no.yaml: there is no such file" in capsys.readouterr().err


def test_scales_add_canvases_for_frames(checkpoint: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 100x70 px: 50x35 and 200x140, up to the next multiples of 32; for 90x63, at 0.9, 96x64 is there already."""
    words = sets(*SMALL, f"frontend.checkpoint={checkpoint}", "name=scaled", "backend.dtype=fp32")
    scales = ("--scales", "0.5", "0.9", "2", "--frame", "100x70")
    assert vamc(["compile", SHIPPED, *words, *scales]) == 0
    artifact = open_artifact(Path("deploy_weights/scaled/mod"))
    assert [rung.canvas_hw for rung in artifact.manifest.ladder] == [(64, 96), (64, 64), (160, 224)]
    assert "float32[1,3,160,224]" in capsys.readouterr().out


def test_frame_without_scales_is_one_line(capsys: pytest.CaptureFixture[str], elsewhere: Path) -> None:
    assert error_of(capsys, SHIPPED, "--frame", "640x480").startswith("--frame needs --scales: ")
