"""Which convolution is meant: by its index in graph order, its name, or a pattern of names."""

from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from facedeploy.core.errors import ConfigError


def convolution_names(model: Any) -> list[str]:
    """A name for each convolution of an onnx.ModelProto, in order: the node's, or its output's if it has none alone."""
    names = Counter(node.name for node in model.graph.node)
    return [
        node.name if node.name and names[node.name] == 1 else node.output[0]
        for node in model.graph.node
        if node.op_type == "Conv"
    ]


def selected_layers(names: Sequence[str], wanted: Sequence[int | str], key: str) -> frozenset[int]:
    """Indices of the convolutions, called `names` in graph order, that `wanted` means.

    An entry is an index, a name, or a pattern of names as in a shell (`/ssh1/*`). Raises ConfigError, which names
    `key`, when one means none.
    """
    if wanted and not names:
        raise ConfigError(f"{key}: the model has no convolutions, expected an empty list")
    return frozenset(index for entry in wanted for index in _meant(names, entry, key))


def _meant(names: Sequence[str], entry: int | str, key: str) -> list[int]:
    if isinstance(entry, int):
        if entry >= len(names):
            raise ConfigError(
                f"{key}: got {entry}, the model has {len(names)} convolutions, expected 0 to {len(names) - 1}"
            )
        return [entry]
    # A name may have brackets in it, which a pattern would take as its own.
    found = [index for index, name in enumerate(names) if name == entry]
    found = found or [index for index, name in enumerate(names) if fnmatchcase(name, entry)]
    if not found:
        near = get_close_matches(entry, names, n=1, cutoff=0)
        hint = f"; the nearest name is {near[0]}" if near else ""
        raise ConfigError(f"{key}: no convolution of the model is called {entry!r}, nor do any match it{hint}")
    return found
