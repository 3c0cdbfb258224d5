"""Seeded random parameters for a symbol that has none: what a net costs can be measured, what it finds cannot."""

from math import prod

import numpy as np

from facedeploy.core.errors import CheckpointError
from facedeploy.core.shown import shown
from facedeploy.importers.mxnet.graph import Shape, Weights
from facedeploy.importers.mxnet.symbol import Node, Symbol
from facedeploy.importers.mxnet.to_onnx import to_onnx

MOST_NUMBERS = 1 << 27  # Of all parameters; more than that is a slip, and would take gigabytes.


def random_params(symbol: Symbol, shape_nchw: Shape, seed: int) -> dict[str, Weights]:
    """Parameters of the shapes that the symbol needs, by name, for `find_stored`; the same for the same seed.

    Weights keep the scale of activations (He et al. 2015), biases and statistics are near those of no change.
    Raises CheckpointError as `to_onnx` does, and for more than `MOST_NUMBERS` numbers.
    """
    random = np.random.default_rng(seed)
    drawn: dict[str, Weights] = {}

    def draw(node: Node, role: str, name: str, shape: Shape) -> Weights:
        if name not in drawn:
            if sum(array.size for array in drawn.values()) + prod(shape) > MOST_NUMBERS:
                raise CheckpointError(
                    f"{node.place}: its {role} {shown(name)} has the shape {list(shape)}, and all parameters more than "
                    f"the {MOST_NUMBERS:,} numbers that are drawn: compile the net with frontend.params"
                )
            drawn[name] = _draw(random, role, shape)
        return drawn[name]

    to_onnx(symbol, draw, shape_nchw)
    return drawn


def _draw(random: np.random.Generator, role: str, shape: Shape) -> Weights:
    if role == "weight":
        values = random.normal(0, np.sqrt(2 / prod(shape[1:])), shape)
    elif role in ("gamma", "moving_var"):
        values = random.uniform(0.75, 1.25, shape)
    else:
        values = random.normal(0, 0.1, shape)
    return values.astype(np.float32)
