"""README's commands, run as they are printed, on the demo's dataset: the whole flow."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("skimage", reason="the demo's photos come from scikit-image (extra demo)")
pytest.importorskip("torch", reason="export needs torch (extra export)")

AP_LINE = re.compile(r"^(Easy|Medium|Hard) +Val AP: (\S+)$", re.MULTILINE)


def sh_blocks(readme: str) -> list[list[str]]:
    """Lines of each block marked `sh`."""
    return [block.strip().splitlines() for block in re.findall(r"^```sh\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)]


@pytest.fixture(scope="module")
def outputs(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """What each command of the two blocks printed, and the workspace they ran in."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("source_code", "build_in", "common", "vdsp_params"):
        (root / name).symlink_to(repository / name)
    workspace = root / "workspace"
    workspace.mkdir()
    compose = f"import sys; sys.path.insert(0, {str(repository / 'common/demo')!r}); import compose, pathlib; "
    subprocess.run(
        [sys.executable, "-c", compose + f"compose.compose(pathlib.Path({str(workspace / 'demo_wider')!r}))"],
        check=True,
    )
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    printed = {}
    first, second = sh_blocks((repository / "README.md").read_text(encoding="utf-8"))
    assert first[:2] == [". .venv/bin/activate", "cd workspace"]
    for command in first[2:] + second:
        done = subprocess.run(
            command, shell=True, cwd=workspace, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        printed[command] = done.stdout
    return workspace, printed


def aps(text: str) -> list[str]:
    return [value for _, value in AP_LINE.findall(text)]


@pytest.mark.flow
def test_readme_flow_finds_the_faces_of_the_demo(outputs: tuple[Path, dict[str, str]]) -> None:
    _, printed = outputs
    easy, medium, hard = map(float, aps(next(text for command, text in printed.items() if "-p result -g" in command)))
    # The faces are the same portrait at sizes from 18 to 260 px; the smallest of them are the hard ones.
    assert easy >= 0.99
    assert medium >= 0.95
    assert hard >= 0.85


@pytest.mark.flow
def test_readme_flow_through_npz_equals_the_stream(outputs: tuple[Path, dict[str, str]]) -> None:
    workspace, printed = outputs
    streamed = {path.relative_to(workspace / "result"): path.read_bytes() for path in workspace.glob("result/*/*.txt")}
    offline = {
        path.relative_to(workspace / "result_npz"): path.read_bytes() for path in workspace.glob("result_npz/*/*.txt")
    }
    assert len(streamed) == 9
    assert streamed == offline
    ends = [text for command, text in printed.items() if "evaluation.py" in command]
    assert len(ends) == 2
    assert aps(ends[0]) == aps(ends[1])


@pytest.mark.flow
def test_readme_export_prints_parity_of_every_size(outputs: tuple[Path, dict[str, str]]) -> None:
    workspace, printed = outputs
    text = next(text for command, text in printed.items() if "export.py" in command)
    for size in (640, 512, 320):
        assert (workspace / f"export_model/mobilenet0.25_{size}.onnx").is_file()
        assert (workspace / f"export_model/mobilenet0.25_{size}.torchscript.pt").is_file()
        assert f"{size}x{size}" in text
    assert text.count("max|a-b|: loc") == 6


@pytest.mark.flow
def test_readme_python_example_runs(outputs: tuple[Path, dict[str, str]], repository: Path) -> None:
    workspace, _ = outputs
    (example,) = re.findall(
        r"^```python\n(.*?)^```", (repository / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    picture = next(workspace.glob("demo_wider/images/*/*.jpg"))
    (workspace / "photo.jpg").write_bytes(picture.read_bytes())
    code = example + "print(len(detections), detections.boxes.shape, detections.landmarks.shape)"
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=workspace, text=True)
    count = int(printed.split()[0])
    assert count >= 3
    assert printed.strip() == f"{count} ({count}, 4) ({count}, 5, 2)"
