"""A runtime of others that runs the same ONNX file, and what its own profiler says."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

WARMUP = 2  # Runs of a round that the figures leave out.


@dataclass(frozen=True)
class PeerNode:
    """A node that the peer runs. `layers` are the ONNX convolutions in it; `us` is its time, microseconds.

    `kernel` is the place, in running order, of the one of our kernels that computes these layers; None where none does.
    """

    name: str
    type: str
    layers: tuple[str, ...]
    us: float
    kernel: int | None = None


class Peer(Protocol):
    """A peer with its profiler on."""

    version: str

    def round(self, runs: int) -> list[float]:
        """Warm up, then run so often; the microseconds of each call."""

    def nodes(self) -> list[PeerNode]:
        """What the peer has run, in its order; times are medians over all rounds. Ends the profiling."""


OpenPeer = Callable[[Path, Any, npt.NDArray[np.float32], int], Peer]


def microseconds(run: Callable[[], object]) -> float:
    """Of one call."""
    begun = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - begun) / 1000


def match_nodes(nodes: Sequence[PeerNode], kernels: Sequence[tuple[str, ...]]) -> tuple[PeerNode, ...]:
    """The nodes, each with the one of `kernels`, given by their layers, that it computes together with its like.

    Only whole kernels count: each of their layers is in exactly one node, and these nodes have no layers of others.
    """
    matched = list(nodes)
    for index, layers in enumerate(kernels):
        own = [place for place, node in enumerate(nodes) if not set(layers).isdisjoint(node.layers)]
        if layers and sorted(layer for place in own for layer in nodes[place].layers) == sorted(layers):
            for place in own:
                matched[place] = replace(nodes[place], kernel=index)
    return tuple(matched)
