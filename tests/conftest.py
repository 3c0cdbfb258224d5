"""Where test data is, and what this machine lacks: a test that cannot run here skips and says why."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and checkpoints (FACEDEPLOY_DATA, by default ../shared)."""
    folder = Path(os.environ.get("FACEDEPLOY_DATA", REPOSITORY.parent / "shared")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}: set FACEDEPLOY_DATA to a folder that has data/ and weights/")
    return folder
