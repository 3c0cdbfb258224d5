"""A PyTorch checkpoint becomes weights of the model asked for, or one clear error."""

import hashlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from facedeploy.core.errors import CheckpointError
from facedeploy.export.known_checkpoints import KNOWN_CHECKPOINTS
from facedeploy.export.weights import Weights, fit_state
from facedeploy.models.specs import MODELS, ModelSpec


def load_checkpoint(path: Path, spec: ModelSpec) -> Weights:
    """Read a state dict, bare or under `state_dict`, with or without `module.` before its names.

    Raises CheckpointError when the file cannot be read, is not weights, is known to be of another net, or does not
    fit `spec`. Nothing but tensors is ever unpickled.
    """
    content = _read(path)
    digest = hashlib.sha256(content).hexdigest()
    known = KNOWN_CHECKPOINTS.get(digest)
    if known and known.model != spec.name:
        way = f"--model_name {known.model}"
        if known.model not in MODELS:
            way = f"`facedeploy compile build_in/build/{known.model}_fp32.yaml`, which needs no export"
        raise CheckpointError(f"{path}: this is {known.title}, not {spec.name}: use {way}")
    state = fit_state(spec, _state_dict(path, _unpickle(path, content)), str(path))
    if known:
        return Weights(state, f"{path}, {known.title}", digest)
    note = (
        f"{path} is not a checkpoint this version knows (sha256 {digest}): its names and shapes fit {spec.name}, "
        f"but they do not identify a net, whose activation and priors no checkpoint tells"
    )
    return Weights(state, f"{path}, unknown", digest, (note,))


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise CheckpointError(f"{path}: is a directory, expected a checkpoint file (.pth)")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}): give the path of a checkpoint") from error
    if not content:
        raise CheckpointError(f"{path}: is empty; fetch the checkpoint again")
    return content


def _unpickle(path: Path, content: bytes) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # A file that is not a pickle of tensors fails in as many ways as there are opcodes.
        raise CheckpointError(
            f"{path}: is not plain weights ({type(error).__name__} while reading): "
            f"expected what torch.save(net.state_dict(), path) writes, whole"
        ) from error


def _state_dict(path: Path, loaded: object) -> dict[str, Tensor]:
    nested = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(nested, Mapping):
        raise CheckpointError(f"{path}: holds a {type(nested).__name__}, expected a state dict of names and tensors")
    state: dict[str, Tensor] = {}
    for key, value in nested.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path}: the entry {key!r} is a {type(value).__name__}, expected a state dict of names and tensors"
            )
        name = key.removeprefix("module.")
        if name in state:
            raise CheckpointError(f"{path}: has both {name} and module.{name}: expected one of them")
        state[name] = value
    if not state:
        raise CheckpointError(f"{path}: holds no weights at all")
    return state
