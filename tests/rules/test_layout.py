"""The layout's rules that no linter holds."""

import subprocess
import sys
from pathlib import Path

import pytest

MAX_LINES = 400
MAX_ENTRY_LINES = 16


def package_files(repository: Path) -> list[Path]:
    return sorted((repository / "source_code/facedeploy").rglob("*.py"))


def test_files_stay_small(repository: Path) -> None:
    long = {
        path.name: count
        for path in package_files(repository)
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert not long, f"past {MAX_LINES} lines a file wants to be two things"


def test_no_file_is_named_for_nothing(repository: Path) -> None:
    vague = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert not [path for path in package_files(repository) if path.name in vague]


@pytest.mark.parametrize(
    "entry",
    [
        "source_code/export.py",
        "build_in/vsx/python/vsx.py",
        "common/eval/evaluation.py",
        "common/utils/image2npz.py",
        "common/utils/npz_decode.py",
    ],
)
def test_entry_is_a_thin_wrapper_when_run_from_another_folder(repository: Path, entry: str, tmp_path: Path) -> None:
    assert len((repository / entry).read_text(encoding="utf-8").splitlines()) <= MAX_ENTRY_LINES
    done = subprocess.run(
        [sys.executable, str(repository / entry), "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_public_names_are_importable_and_no_others_are_promised() -> None:
    import facedeploy

    assert facedeploy.__all__ == ["Detections", "FaceDetector", "__version__", "available_detectors", "build_detector"]
    for name in facedeploy.__all__:
        assert getattr(facedeploy, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = facedeploy.nothing


def test_package_import_is_light() -> None:
    heavy = ("numpy", "cv2", "torch", "tvm")
    code = f"import facedeploy, facedeploy.cli.main, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
