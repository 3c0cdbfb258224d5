"""Importing a library without what it would bring along."""

import importlib
import sys


def lean_import(name: str, without: str) -> None:
    """Import `name`; while it loads, `without` cannot be imported, unless it is loaded already."""
    if name in sys.modules or without in sys.modules:
        importlib.import_module(name)
        return
    sys.modules[without] = None  # type: ignore[assignment]  # Python's way to say that there is none.
    try:
        importlib.import_module(name)
    finally:
        del sys.modules[without]
