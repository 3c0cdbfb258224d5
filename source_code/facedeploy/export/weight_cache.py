"""State dicts kept in the user's cache folder, so that an import of foreign weights is verified once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facedeploy.core.files import atomic_path


def cache_path(sha256: str) -> Path:
    """`facedeploy/<sha256>.npz` under $XDG_CACHE_HOME, or ~/.cache where that is unset or relative."""
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folder = configured if configured.is_absolute() else Path(os.path.expanduser("~"), ".cache")  # noqa: PTH111
    return folder / "facedeploy" / f"{sha256}.npz"


def read_state(path: Path) -> dict[str, Tensor] | None:
    """The state dict in `path`; None when there is none or the file is damaged (a zip checks its contents' CRC)."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except Exception:  # Whatever is wrong with it, a cache file is made again.
        return None


def write_state(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write atomically. Raises OSError where the cache cannot be written."""
    with atomic_path(path) as temporary:
        arrays: dict[str, Any] = {name: value.numpy() for name, value in state.items()}
        np.savez(temporary, **arrays)
