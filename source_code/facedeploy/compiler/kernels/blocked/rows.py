"""Where a kernel finds the rows of a tensor: in the whole tensor, or in a ring that holds only the last few."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.direct import Window
from facedeploy.compiler.kernels.blocked.emit import for_tiles, splat, store
from facedeploy.compiler.kernels.blocked.layout import LANES, Blocked


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

    def clear(self, y: Any) -> None:
        """Fill row y of a ring with zeros, halo included."""
        layout = self.layout
        with T.serial(0, layout.blocks) as c, T.serial(0, layout.width + 2 * layout.halo) as x:
            store(self.buffer, splat(0.0, layout.block), [c, slot(y, self.ring), x, 0], layout.block)


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

    def clear(self, y: Any) -> None:
        """Fill row y with zeros, margins included."""
        channels, _, stride, pitch = (int(side) for side in self.buffer.shape)
        with T.serial(0, channels) as c, T.serial(0, stride) as phase, T.serial(0, pitch // LANES) as part:
            store(self.buffer, splat(0.0, LANES), [c, slot(y, self.ring), phase, part * LANES], LANES)


def blocked_ring(layout: Blocked, ring: int) -> Rows:
    """A ring, zeroed, of rows of a blocked tensor with its halo to the left and right."""
    shape = (layout.blocks, ring, layout.width + 2 * layout.halo, layout.block)
    rows = Rows(T.alloc_buffer(shape, "float32", scope="global"), layout, ring)
    with T.serial(0, ring) as y:
        rows.clear(y)
    return rows


def planar_ring(channels: int, ring: int, window: Window, width: int, outputs: int) -> PlanarRows:
    """A ring, zeroed, of rows so wide, for a reader with this window that makes so many outputs a row."""
    stride, left = window.stride[1], window.padding[1]
    furthest = ((window.kernel[1] - 1) * window.dilation[1] - left) // stride
    margin = _round_up(-(-left // stride))
    pitch = margin + _round_up(max(-(-width // stride), outputs + max(0, furthest)))
    rows = PlanarRows(T.alloc_buffer((channels, ring, stride, pitch), "float32", scope="global"), ring, stride, margin)
    with T.serial(0, ring) as y:
        rows.clear(y)
    return rows


def for_vectors(width: int, lanes: int, body: Callable[[Any, int], None]) -> None:
    """Run `body(x, lanes)` for vectors that cover a row: full ones, then powers of two."""
    for_tiles(width - width % lanes, lanes, body)
    start = width - width % lanes
    while start < width:
        part = 1 << ((width - start).bit_length() - 1)
        body(start, part)
        start += part


def _round_up(number: int) -> int:
    return -(-number // LANES) * LANES
