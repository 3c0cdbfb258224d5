"""The wheel: what an installed package has, away from any checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build", reason="builds a wheel (extra dev)")


@pytest.fixture(scope="module")
def installed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the unpacked wheel and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, repository],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("facedeploy-*.whl")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run_installed(site: Path, code: str, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    program = [sys.executable, "-c", code]
    done = subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_wheel_finds_shipped_configs_by_their_documented_names(installed: Path, tmp_path: Path) -> None:
    code = (
        "import facedeploy; from facedeploy.config.shipped import find_config; "
        "from facedeploy.config.load import load_build_config; "
        "found = find_config('build_in/build/official_retinaface.yaml'); "
        "print(facedeploy.__file__, found.path, load_build_config(found.path).name)"
    )
    module, config, name = run_installed(installed, code, tmp_path).split()
    assert Path(module).is_relative_to(installed)
    assert Path(config).is_relative_to(installed)
    assert name == "official_retinaface_fp32"


def test_wheel_has_every_shipped_config_and_the_license(installed: Path, repository: Path) -> None:
    shipped = installed / "facedeploy/config/shipped"
    for folder in ("build_in/build", "vdsp_params"):
        expected = {path.name: path.read_bytes() for path in (repository / folder).iterdir()}
        assert {path.name: path.read_bytes() for path in (shipped / folder).iterdir()} == expected
    assert list(installed.glob("facedeploy-*.dist-info/licenses/LICENSE"))
    assert (installed / "facedeploy/py.typed").is_file()


def test_wheel_declares_commands_and_a_base_without_torch(installed: Path) -> None:
    (info,) = installed.glob("facedeploy-*.dist-info")
    entry_points = (info / "entry_points.txt").read_text()
    for command in ("facedeploy", "vamc", "vamp"):
        assert f"{command} = facedeploy.cli" in entry_points
    requirements = [
        line.removeprefix("Requires-Dist: ")
        for line in (info / "METADATA").read_text().splitlines()
        if line.startswith("Requires-Dist: ")
    ]
    base = [line for line in requirements if "extra ==" not in line]
    assert not [line for line in base if line.startswith(("torch", "onnx"))]
    assert [line for line in base if line.startswith("apache-tvm")]
