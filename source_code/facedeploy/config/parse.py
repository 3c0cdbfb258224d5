"""The text of a YAML or JSON file becomes plain data; what these formats let pass silently is an error here."""

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any, NoReturn

import yaml

from facedeploy.config.describe import describe_value
from facedeploy.core.errors import ConfigError
from facedeploy.core.shown import shown

MAX_BYTES = 1 << 20
MAX_NODES = 10_000  # Counted with every alias written out, so a few lines cannot become gigabytes.
MAX_DEPTH = 100
LONGEST_PROBLEM = 200
TOO_DEEP = "is nested too deeply to be a file of settings"

_TAG = "tag:yaml.org,2002:"
_SCALARS = ("str", "float", "bool", "null")


class _TooManyError(Exception):
    """More values than MAX_NODES."""


class _Loader(yaml.SafeLoader):
    """Plain data only: a date stays text; sets, binary and the like are errors."""

    nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:  # Else a megabyte of them would take half a minute.
            raise _TooManyError
        return super().compose_node(parent, index)

    def fetch_flow_collection_start(self, token: Any) -> None:
        if self.flow_level >= MAX_DEPTH:  # What it would take to look at grows with the square of the depth.
            raise RecursionError
        super().fetch_flow_collection_start(token)

    def construct_yaml_int(self, node: Any) -> int:
        value = super().construct_yaml_int(node)
        str(value)  # ValueError for one that decimals are too many of, which hexadecimals and sexagesimals are not.
        return value


_Loader.yaml_constructors = {
    **{f"{_TAG}{name}": yaml.SafeLoader.yaml_constructors[f"{_TAG}{name}"] for name in (*_SCALARS, "seq", "map")},
    f"{_TAG}int": _Loader.construct_yaml_int,
    f"{_TAG}timestamp": yaml.SafeLoader.yaml_constructors[f"{_TAG}str"],
    None: yaml.SafeLoader.yaml_constructors[None],
}


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises ConfigError: no such file, not YAML, not a mapping, duplicate keys, bombs."""
    return _mapping(parse_yaml(read_text(path), str(path)), str(path))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ConfigError: no such file, not JSON, not an object, duplicate keys, NaN."""
    return _mapping(parse_json(read_text(path), str(path)), str(path))


def read_text(path: Path) -> str:
    """The UTF-8 text of a file of settings. Raises ConfigError: missing, unreadable, a folder, too large, not text."""
    try:
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: is {path.stat().st_size:,} bytes, which is no file of settings")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file (the current folder is {Path.cwd()})") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder, expected a file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not text: byte {error.start} is not UTF-8") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def parse_yaml(text: str, source: str) -> Any:
    """One YAML document as plain data. Raises ConfigError that starts with `source` and names the line."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, source)
        return loader.construct_document(node)
    except yaml.reader.ReaderError as error:
        raise ConfigError(f"{source}: is not YAML: character {error.position} ({error.reason})") from None
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"{source}: is not valid YAML: {line}{shown(str(error.problem), LONGEST_PROBLEM)}") from None
    except _TooManyError:
        raise ConfigError(f"{source}: has more than {MAX_NODES:,} values, which is no file of settings") from None
    except KeyError as error:
        raise ConfigError(f"{source}: is not valid YAML: {shown(str(error))} is marked !!bool and is none") from None
    except ValueError as error:  # A number that Python does not take.
        raise ConfigError(f"{source}: is not valid YAML: {shown(str(error), LONGEST_PROBLEM)}") from None
    except RecursionError:
        raise ConfigError(f"{source}: {TOO_DEEP}") from None


def parse_json(text: str, source: str) -> Any:
    """One JSON document. Raises ConfigError that starts with `source` and, where there is one, names the line."""

    def refuse(constant: str) -> NoReturn:
        raise ConfigError(f"{source}: has {constant}, which is no number")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        section: dict[str, Any] = {}
        for name, value in pairs:
            if name in section:
                raise ConfigError(f"{source}: the key {shown(name)!r} is there twice in one section")
            section[name] = value
        return section

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{source}: is not valid JSON: line {error.lineno}: {error.msg}") from None
    except ValueError as error:
        raise ConfigError(f"{source}: is not valid JSON: {error}") from None
    except RecursionError:
        raise ConfigError(f"{source}: {TOO_DEEP}") from None


def _mapping(data: Any, source: str) -> dict[str, Any]:
    if data is None:
        raise ConfigError(f"{source}: is empty")
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: got {describe_value(data)}, expected a section with keys")
    return data


def _check(root: yaml.Node, source: str) -> None:
    """Keys are text and unique, nothing contains itself, and all of it stays small when aliases are written out."""
    sizes: dict[int, int | None] = {}  # None while the node is being measured.

    def size(node: yaml.Node) -> int:
        if id(node) in sizes:
            known = sizes[id(node)]
            if known is None:
                raise ConfigError(f"{source}: line {_line(node)}: the section contains itself through an alias")
            return known
        sizes[id(node)] = None
        if isinstance(node, yaml.MappingNode):
            _check_keys(node, source)
            total = 1 + sum(size(key) + size(value) for key, value in node.value)
        else:
            total = 1 + (sum(map(size, node.value)) if isinstance(node, yaml.SequenceNode) else 0)
        if total > MAX_NODES:
            raise _TooManyError
        sizes[id(node)] = total
        return total

    size(root)


def _check_keys(node: yaml.MappingNode, source: str) -> None:
    seen: dict[Hashable, int] = {}
    for key, _ in node.value:
        line = _line(key)
        if key.tag not in (f"{_TAG}str", f"{_TAG}merge"):
            got = shown(key.value) if isinstance(key, yaml.ScalarNode) else "a list or section"
            raise ConfigError(f"{source}: line {line}: a key is text: got {got} (quote it if it is meant as text)")
        if key.value in seen:
            raise ConfigError(
                f"{source}: line {line}: the key {shown(key.value)!r} is already on line {seen[key.value]}"
            )
        seen[key.value] = line


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
