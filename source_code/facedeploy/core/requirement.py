"""Packages of extras are imported where they are used; a missing one is one sentence, not a traceback."""

import importlib
from types import ModuleType

from facedeploy.core.errors import DependencyError


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import `module`, or raise DependencyError naming the extra of facedeploy that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DependencyError(
            f"{purpose} needs the package {module}, which does not import here ({error}): "
            f"pip install 'facedeploy[{extra}]'"
        ) from error
