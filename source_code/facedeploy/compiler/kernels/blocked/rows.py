"""Where a kernel finds the rows of a tensor: in the whole tensor, or in a ring that holds only the last few."""

from dataclasses import dataclass
from typing import Any

from facedeploy.compiler.kernels.blocked.layout import Blocked


def slot(y: Any, ring: int) -> Any:
    """Where row `y`, possibly above the image, lies in a ring of so many rows, a power of two."""
    return y & (ring - 1)


@dataclass(frozen=True)
class Rows:
    """Rows of a blocked tensor. With `ring`, row y lies at y modulo ring of a buffer without batch and row halo."""

    buffer: Any
    layout: Blocked
    ring: int = 0

    def at(self, n: Any, c: Any, y: Any, x: Any) -> list[Any]:
        """The indices of pixel (y, x) of block `c`, all but the lane."""
        halo = self.layout.halo
        if self.ring:
            return [c, slot(y, self.ring), x + halo]
        return [n, c, y + halo, x + halo]


@dataclass(frozen=True)
class PlanarRows:
    """Rows of a tensor of few channels, whose vectors run along x.

    Buffer (C, ring, stride, pitch): column `stride * x + phase` of row y lies at [c, y modulo ring, phase, margin + x],
    so that what a convolution of that stride reads for neighboring outputs are neighbors.
    """

    buffer: Any
    ring: int
    stride: int
    margin: int

    def tap(self, c: Any, y: Any, x: Any, column: int) -> list[Any]:
        """The indices of column `stride * x + column`; the vector from there holds it for x, x + 1 and so on."""
        shift, phase = divmod(column, self.stride)
        return [c, slot(y, self.ring), phase, self.margin + x + shift]
