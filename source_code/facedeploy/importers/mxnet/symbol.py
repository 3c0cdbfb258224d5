"""MXNet's symbol JSON: the nodes of a net, their attributes and what goes into them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from facedeploy.config.describe import describe_value
from facedeploy.config.parse import parse_json
from facedeploy.core.errors import CheckpointError
from facedeploy.core.shown import shown

VARIABLE = "null"
LARGEST_FILE = 1 << 26
# Of older versions: a node's attributes lay under these names, two of them at once in the oldest.
ATTRIBUTES = ("attrs", "attr", "param")
NODE_KEYS = {"op", "name", "inputs", *ATTRIBUTES, "backward_source_id"}
STATISTICS = ("moving_mean", "moving_var")  # Of a BatchNorm; the oldest versions do not list them as inputs.


@dataclass(frozen=True)
class Node:
    """One node. `inputs`: (index of an earlier node, which of its outputs); `file` is for errors."""

    op: str
    name: str
    attributes: Mapping[str, str]
    inputs: tuple[tuple[int, int], ...]
    file: Path

    @property
    def place(self) -> str:
        """What an error starts with."""
        return f"{self.file}: node {shown(self.name)} ({shown(self.op)})"


@dataclass(frozen=True)
class Symbol:
    """A net. `nodes` in an order in which each comes after its inputs; `heads` as a node's inputs, in order."""

    file: Path
    nodes: tuple[Node, ...]
    heads: tuple[tuple[int, int], ...]


def read_symbol(path: Path) -> Symbol:
    """The net in a symbol JSON file.

    Raises CheckpointError, or ConfigError where the text is no JSON: a file that cannot be read, that is no symbol, or
    whose nodes do not fit together.
    """
    try:
        if path.is_file() and path.stat().st_size > LARGEST_FILE:
            raise CheckpointError(f"{path}: is {path.stat().st_size:,} bytes, which is no MXNet symbol")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: is not an MXNet symbol: byte {error.start} is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path}: cannot be read ({reason})") from error
    return _Parser(path).symbol(parse_json(text, str(path)))


class _Parser:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.nodes: list[Node] = []
        self.moved: list[int] = []  # Index in the file -> index in `nodes`, which has statistics besides.
        self.names: set[str] = set()

    def symbol(self, data: Any) -> Symbol:
        if not isinstance(data, dict) or not {"nodes", "arg_nodes", "heads"} <= data.keys():
            self.refuse("is not an MXNet symbol: expected an object with nodes, arg_nodes and heads")
        for index, entry in enumerate(self.listed(data["nodes"], "nodes")):
            self.add_node(index, entry)
        for index in self.listed(data["arg_nodes"], "arg_nodes"):
            if not _is_index(index, len(self.moved)) or self.nodes[self.moved[index]].op != VARIABLE:
                self.refuse(f"arg_nodes: got {describe_value(index)}, expected the number of a node whose op is null")
        entries = self.listed(data["heads"], "heads")
        heads = tuple(self.reference(entry, f"heads.{index}") for index, entry in enumerate(entries))
        if not heads:
            self.refuse("heads: the symbol has no outputs")
        return Symbol(self.path, tuple(self.nodes), heads)

    def add_node(self, index: int, entry: Any) -> None:
        place = f"nodes.{index}"
        if not isinstance(entry, dict) or not {"op", "name", "inputs"} <= entry.keys():
            self.refuse(f"{place}: expected an object with op, name and inputs")
        unknown = entry.keys() - NODE_KEYS
        if unknown:
            self.refuse(f"{place}: the key {shown(min(unknown))} is not known here")
        op, name = entry["op"], entry["name"]
        for key, value in (("op", op), ("name", name)):
            if not isinstance(value, str) or not value or not value.isprintable():
                self.refuse(f"{place}.{key}: got {describe_value(value)}, expected text")
        inputs = self.listed(entry["inputs"], f"{place}.inputs")
        references = tuple(self.reference(each, f"{place}.inputs.{at}") for at, each in enumerate(inputs))
        if op == "BatchNorm" and len(references) == 3:
            references += tuple(self.add(VARIABLE, f"{name}_{suffix}", {}, (), place) for suffix in STATISTICS)
        self.moved.append(self.add(op, name, self.attributes(entry, place), references, place)[0])

    def add(
        self, op: str, name: str, attributes: Mapping[str, str], inputs: tuple[tuple[int, int], ...], place: str
    ) -> tuple[int, int]:
        if name in self.names:
            self.refuse(f"{place}: a node of the name {shown(name)} is there already")
        if op == VARIABLE and inputs:
            self.refuse(f"{place}.inputs: a node whose op is null has none")
        self.names.add(name)
        self.nodes.append(Node(op, name, attributes, inputs, self.path))
        return len(self.nodes) - 1, 0

    def attributes(self, entry: Mapping[str, Any], place: str) -> dict[str, str]:
        merged: dict[str, str] = {}
        for key in ATTRIBUTES:
            values = entry.get(key, {})
            if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
                self.refuse(f"{place}.{key}: expected an object whose values are text")
            merged |= values
        return merged

    def reference(self, entry: Any, place: str) -> tuple[int, int]:
        """[node, output], and in later versions a third number, which counts how often the input was written to."""
        parts = entry if isinstance(entry, list) else []
        if len(parts) not in (2, 3) or not all(_is_index(part, 2**31) for part in parts):
            self.refuse(f"{place}: got {describe_value(entry)}, expected [node, output] or [node, output, version]")
        if parts[0] >= len(self.moved):
            self.refuse(f"{place}: got the node {parts[0]}, expected one that comes before")
        return self.moved[parts[0]], parts[1]

    def listed(self, entry: Any, place: str) -> list[Any]:
        if not isinstance(entry, list):
            self.refuse(f"{place}: got {describe_value(entry)}, expected a list")
        return entry

    def refuse(self, problem: str) -> NoReturn:
        raise CheckpointError(f"{self.path}: {problem}")


def _is_index(value: Any, count: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count
