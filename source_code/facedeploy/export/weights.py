"""Weights that fit a model, and where they are from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from facedeploy.core.errors import CheckpointError
from facedeploy.models.nets import new_net
from facedeploy.models.specs import MODELS, ModelSpec

COUNTER = "num_batches_tracked"  # Batch norm's training counter: absent in old checkpoints, and inference ignores it.


@dataclass(frozen=True, eq=False)
class Weights:
    """`state` has the names and shapes of a net's state dict, values float32 and finite.

    `source` is one line for people; `sha256` is that of the bytes the weights were read from, None when they were
    made here; `notes` are sentences that the user should see.
    """

    state: Mapping[str, Tensor]
    source: str
    sha256: str | None
    notes: tuple[str, ...] = ()


def build_net(spec: ModelSpec, weights: Weights) -> nn.Module:
    """The net with its weights, in eval mode, without gradients."""
    with torch.device("meta"):
        net = new_net(spec)
    net.load_state_dict(dict(weights.state), assign=True)
    return net.eval().requires_grad_(False)


def fit_state(spec: ModelSpec, state: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """`state` as float32, in the model's order.

    Raises CheckpointError, which begins with `origin` and names what is missing, unexpected, of another shape, not
    floating point or not finite.
    """
    expected = _shapes(spec)
    problems = _misfits(expected, state)
    if problems:
        fitting = [other.name for other in MODELS.values() if not _misfits(_shapes(other), state)]
        way_out = (
            f"its names and shapes are those of --model_name {' or '.join(fitting)}"
            if fitting
            else "is it another net?"
        )
        raise CheckpointError(f"{origin}: does not fit {spec.name}: {'; '.join(problems)}; {way_out}")
    unusable = [
        name
        for name, value in state.items()
        if not name.endswith(COUNTER) and not (value.is_floating_point() and bool(torch.isfinite(value).all()))
    ]
    if unusable:
        raise CheckpointError(f"{origin}: {_some(unusable)}: expected finite floating point values")
    return {
        name: torch.zeros((), dtype=torch.int64) if name.endswith(COUNTER) else state[name].detach().float()
        for name in expected
    }


def _shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in new_net(spec).state_dict().items()}


def _misfits(expected: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor]) -> list[str]:
    """What keeps `state` from being loaded, a phrase for each kind of difference."""
    missing = [name for name in expected if name not in state and not name.endswith(COUNTER)]
    unexpected = [name for name in state if name not in expected]
    reshaped = [
        f"{name} is {list(state[name].shape)}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    return [f"{len(names)} {kind} ({_some(names)})" for kind, names in kinds.items() if names]


def _some(names: Iterable[str], limit: int = 3) -> str:
    listed = list(names)
    return ", ".join(listed[:limit]) + (", ..." if len(listed) > limit else "")
