"""Which artifacts a table of batches needs."""

import shutil

import pytest

from facedeploy.core.errors import ArtifactError
from facedeploy.perf.batches import prefixes_of


@pytest.fixture
def pattern(tiny_artifact, tmp_path):
    """Batches 1 and 2 are there, but both hold 1."""
    for batch in (1, 2):
        shutil.copytree(tiny_artifact.prefix.parent, tmp_path / f"x_b{batch}")
    return str(tmp_path / "x_b{batch}" / "mod")


def test_batch_takes_its_place_in_the_pattern(pattern, tmp_path):
    assert prefixes_of(pattern, [1]) == {1: tmp_path / "x_b1/mod"}
    assert prefixes_of(str(tmp_path / "x_b{batch}"), [1]) == {1: tmp_path / "x_b1"}


def test_one_artifact_may_hold_all_batches(tiny_ladder, pattern):
    prefix = tiny_ladder.prefix
    assert prefixes_of(str(prefix), [3, 1]) == {3: prefix, 1: prefix}
    with pytest.raises(ArtifactError, match=f"--batches: {prefix} holds 1, 3, not 2: compile with the batch in front"):
        prefixes_of(str(prefix), [1, 2])


def test_all_that_is_missing_is_named_at_once(pattern, tmp_path):
    with pytest.raises(ArtifactError) as error:
        prefixes_of(pattern, [1, 4, 8])
    assert str(error.value).startswith(
        f"--batches: there is no artifact at {tmp_path}/x_b4/mod, {tmp_path}/x_b8/mod: compile with the batch in "
    )


def test_artifact_of_another_batch_is_an_error(pattern, tmp_path):
    with pytest.raises(ArtifactError, match=f"--batches: {tmp_path}/x_b2/mod holds 1, not 2: "):
        prefixes_of(pattern, [1, 2])
