"""`--set section.key=value`: values of a file replaced from the command line."""

from collections.abc import Sequence
from typing import Any

from facedeploy.config.describe import describe_value
from facedeploy.config.parse import parse_yaml
from facedeploy.core.errors import ConfigError
from facedeploy.core.shown import shown

LONGEST = 100  # Characters of an override in a message.


def apply_overrides(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of `data` with each `path=value` put in, later ones last.

    The path is keys joined by dots, a number for a place in a list (from 0); sections that are missing are made, and
    whether a key exists is for `validate` to say. The value is YAML, so 640 is a number and [640, -1] a list. Raises
    ConfigError when an override is malformed or its path runs through a value that is no section.
    """
    for override in overrides:
        path, equals, value = override.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(f"{_named(override)}: expected section.key=value, such as frontend.checkpoint=model.onnx")
        data = _replaced(data, keys, parse_yaml(value, _named(override)), override)
    return data


def _replaced(data: Any, keys: list[str], new: Any, override: str) -> Any:
    if not keys:
        return new
    if data is None:
        data = {}
    if isinstance(data, dict):
        # A key may itself have dots, as the input `input.1`: the longest one that exists is meant.
        width = next((n for n in range(len(keys), 0, -1) if ".".join(keys[:n]) in data), 1)
        key = ".".join(keys[:width])
        return {**data, key: _replaced(data.get(key), keys[width:], new, override)}
    if isinstance(data, list):
        if not keys[0].isdecimal() or int(keys[0]) >= len(data):
            raise ConfigError(
                f"{_named(override)}: {shown(keys[0])!r} is no place in a list of {len(data)}, counted from 0"
            )
        place = int(keys[0])
        return [*data[:place], _replaced(data[place], keys[1:], new, override), *data[place + 1 :]]
    got = f"{shown(keys[0])!r} lies inside the value {describe_value(data)}"
    raise ConfigError(f"{_named(override)}: {got}, which is no section")


def _named(override: str) -> str:
    return f"--set {shown(override, LONGEST)}"
