"""A build YAML on disk becomes a `BuildConfig`."""

from collections.abc import Sequence
from pathlib import Path

from facedeploy.config.build_config import BuildConfig
from facedeploy.config.overrides import apply_overrides
from facedeploy.config.parse import read_yaml
from facedeploy.config.validate import validate

RENAMED = {"model": "name", "model_name": "name", "input_shape": "shape", "min_sizes": "anchor", "anchors": "anchor"}


def load_build_config(path: str | Path, overrides: Sequence[str] = ()) -> BuildConfig:
    """Read `path` and put in `overrides` (`section.key=value`, see `apply_overrides`).

    Raises ConfigError: one sentence where the file cannot be read as YAML or an override is malformed, otherwise a line
    for every key that is unknown, missing, or has a value that cannot be used.
    """
    data = apply_overrides(read_yaml(Path(path)), overrides)
    return validate(BuildConfig, data, f"{path} with --set" if overrides else str(path), RENAMED)
