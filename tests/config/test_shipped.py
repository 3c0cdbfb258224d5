import shutil
from pathlib import Path

import pytest

from facedeploy.config import shipped
from facedeploy.config.shipped import find_config
from facedeploy.core.errors import ConfigError

YAML = "build_in/build/official_retinaface.yaml"
JSON = "vdsp_params/official-retinaface_mobilenet0.25-vdsp_params.json"


@pytest.fixture(params=["checkout", "installed"])
def root(request, repository, tmp_path, monkeypatch):
    """Where the shipped files are, in a checkout and as a wheel lays them out; the current folder is another."""
    folder = repository
    if request.param == "installed":
        folder = tmp_path / "facedeploy" / "config" / "shipped"
        shutil.copytree(repository / "build_in" / "build", folder / "build_in" / "build")
        shutil.copytree(repository / "vdsp_params", folder / "vdsp_params")
        monkeypatch.setattr(shipped, "_INSTALLED", folder)
        monkeypatch.setattr(shipped, "_CHECKOUT", tmp_path / "site-packages")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return folder


@pytest.mark.parametrize("path", [YAML, f"./{YAML}", f"../{YAML}", f"../../{YAML}"])
def test_find_config_gives_the_shipped_yaml_when_there_is_none_here(root, path):
    found = find_config(path)
    assert (found.path, found.shipped) == (root / YAML, True)


@pytest.mark.parametrize("path", [JSON, f"../{JSON}", f"build_in/{JSON}", f"../build_in/{JSON}"])
def test_find_config_gives_the_shipped_json_when_there_is_none_here(root, path):
    found = find_config(Path(path))
    assert (found.path, found.shipped) == (root / JSON, True)


def test_find_config_prefers_the_file_that_exists(root):
    Path("build_in/build").mkdir(parents=True)
    Path(YAML).write_text("name: mine")
    found = find_config(YAML)
    assert (found.path, found.shipped) == (Path(YAML), False)


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        ("build_in/build/oficial_retinaface.yaml", YAML),
        ("official_retinaface.yaml", YAML),
        ("/somewhere/official_retinaface.yaml", YAML),
        ("mobilenet-vdsp_params.json", JSON),
        ("q.json", JSON),
        ("n" * 300, YAML),
    ],
)
def test_find_config_names_the_nearest_when_there_is_none(root, path, suggestion):
    with pytest.raises(ConfigError) as caught:
        find_config(path)
    assert "there is no such file (the current folder is" in str(caught.value)
    assert suggestion in str(caught.value)
