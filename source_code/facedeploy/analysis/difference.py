"""How far a tensor is from what it should be, over many images."""

from dataclasses import dataclass
from math import log10, sqrt

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass
class Difference:
    """Sums over all numbers so far: of squares of the expected, the got and their difference, and of products."""

    expected: float = 0.0
    got: float = 0.0
    error: float = 0.0
    product: float = 0.0

    def add(self, got: FloatArray, expected: FloatArray) -> None:
        """Two arrays of one shape."""
        self.expected += _sum(expected * expected)
        self.got += _sum(got * got)
        self.error += _sum((got - expected) ** 2)
        self.product += _sum(got * expected)

    @property
    def snr(self) -> float:
        """Signal-to-noise ratio, dB; infinite where there is no difference."""
        if self.error == 0:
            return float("inf")
        return 10 * log10(self.expected / self.error) if self.expected else float("-inf")

    @property
    def cosine(self) -> float:
        """Of the angle between the two as vectors; 1 where both are 0."""
        if self.expected == 0 or self.got == 0:
            return float(self.expected == self.got)
        return self.product / sqrt(self.expected * self.got)


def _sum(array: FloatArray) -> float:
    return float(array.sum(dtype=np.float64))
