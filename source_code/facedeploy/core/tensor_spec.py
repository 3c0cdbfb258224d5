"""Name, shape and dtype of one tensor."""

from dataclasses import dataclass
from math import prod

import numpy as np


@dataclass(frozen=True)
class TensorSpec:
    """What a model says of one input or output. `shape` is static; `dtype` is numpy's name, such as `float32`."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}[{','.join(map(str, self.shape))}]"
