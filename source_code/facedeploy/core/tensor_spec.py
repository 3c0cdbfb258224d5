"""Name, shape and dtype of one tensor."""

from dataclasses import dataclass
from math import prod

import numpy as np

from facedeploy.core.shown import shown


def bytes_of(shape: tuple[int, ...], dtype: str) -> int:
    """What a tensor of this shape and dtype (numpy's name) occupies."""
    return prod(shape) * np.dtype(dtype).itemsize


@dataclass(frozen=True)
class TensorSpec:
    """What a model says of one input or output. `shape` is static; `dtype` is numpy's name, such as `float32`."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return bytes_of(self.shape, self.dtype)

    def __str__(self) -> str:
        return f"{shown(self.name)} {shown(self.dtype)}[{shown(','.join(map(str, self.shape)))}]"
