"""What operators on each pixel and channel compute, by numpy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# By Relax's name: how many operands, and what it makes of them.
ORACLES: dict[str, tuple[int, Callable[..., Array]]] = {
    "relax.add": (2, np.add),
    "relax.subtract": (2, np.subtract),
    "relax.multiply": (2, np.multiply),
    "relax.divide": (2, np.divide),
    "relax.negative": (1, np.negative),
    "relax.maximum": (2, np.maximum),
    "relax.minimum": (2, np.minimum),
    "relax.nn.relu": (1, lambda x: np.maximum(x, 0)),
    "relax.nn.leakyrelu": (1, lambda x: np.where(x < 0, np.float32(-0.25) * x, x)),
    "relax.nn.prelu": (2, lambda x, slopes: np.where(x < 0, slopes * x, x)),
    "relax.clip": (1, lambda x: np.clip(x, -0.25, 0.75)),
    "relax.sigmoid": (1, lambda x: 1 / (1 + np.exp(-x))),
    "relax.image.resize2d": (1, lambda x: x),
}
NUMBERS = {"relax.nn.leakyrelu": (-0.25,), "relax.clip": (-0.25, 0.75)}
