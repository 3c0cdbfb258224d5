"""Layers computed row by row, each just ahead of the next, so that what lies between them never leaves the cache.

The idea is that of line buffers: Alwani et al., "Fused-layer CNN accelerators", MICRO 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.direct import Window
from facedeploy.compiler.kernels.blocked.emit import share

MIN_ROWS = 8  # Of the last link, for each thread.


@dataclass(frozen=True)
class Reach:
    """A layer's row y reads rows stride * y + first .. stride * y + last of the layer before; `first` may be < 0."""

    stride: int
    first: int
    last: int

    @property
    def ring(self) -> int:
        """The rows a ring must hold, as a power of two."""
        return 1 << (self.last - self.first).bit_length()


def reach_of(window: Window) -> Reach:
    """Along the height."""
    top = window.padding[0]
    return Reach(window.stride[0], -top, (window.kernel[0] - 1) * window.dilation[0] - top)


class Link(Protocol):
    """One layer. Rows above and below the image are cleared, which is the padding of the layer behind."""

    @property
    def height(self) -> int:
        """Rows of the image it makes."""

    @property
    def reach(self) -> Reach:
        """What it reads of the link before."""

    def allocate(self, ring: int | None) -> None:
        """Make room for a ring of rows; None when the rows go into the output, which is the last link's."""

    def row(self, n: Any, y: Any) -> None:
        """Compute row y of image n."""

    def clear(self, y: Any) -> None:
        """Fill row y of the ring, which is none of the image, with zeros."""


def run(links: Sequence[Link], batch: int) -> None:
    """Emit the loops: every thread gets neighboring rows of the last link, and each other link's rows on demand.

    The first rows that a thread needs of every link it computes itself, which is all that threads do twice.
    """
    last = links[-1]
    with share(batch * last.height, MIN_ROWS) as (start, count):
        for link, reader in pairwise(links):
            link.allocate(reader.reach.ring)
        last.allocate(None)
        done = T.alloc_buffer((len(links),), "int32")  # The last row that each link has made.
        with T.serial(0, count) as step:
            n, y = (start + step) // last.height, (start + step) % last.height
            with T.If(tirx.any(step == 0, y == 0)), T.Then():  # Nothing of this image yet.
                first = y
                for index in range(len(links) - 1, 0, -1):
                    first = T.Bind(first * links[index].reach.stride + links[index].reach.first)
                    T.buffer_store(done, first - 1, [index - 1])
            _row(links, len(links) - 1, done, n, y)


def _row(links: Sequence[Link], index: int, done: Any, n: Any, y: Any) -> None:
    """Row y of a link, after what it needs of the one before."""
    if index:
        source = index - 1
        until = T.Bind(y * links[index].reach.stride + links[index].reach.last)
        start = T.Bind(done[source])
        with T.serial(0, until - start) as step:
            row = T.Bind(start + step + 1)
            with T.If(tirx.all(row >= 0, row < links[source].height)):
                with T.Then():
                    _row(links, source, done, n, row)
                with T.Else():
                    links[source].clear(row)
        T.buffer_store(done, tirx.Max(start, until), [source])
    links[index].row(n, y)
