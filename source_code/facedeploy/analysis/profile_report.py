"""Figures of one profile, for a file and for a person."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from facedeploy.analysis.peer import PeerNode
from facedeploy.artifact.manifest import KernelCall
from facedeploy.core.table import aligned

NOTES = (
    "GFLOP/s counts what the direct algorithm computes, so Winograd's kernels can pass the peak; GB/s counts each",
    "kernel's arguments and results once, so what caches still hold can pass the memory.",
)
PEER_NOTE = "A peer's column has the us of the same layers, and in parentheses how many times ours that is."
MOST_TYPES = 4  # Types of a peer's other nodes that a line names.


@dataclass(frozen=True)
class Peak:
    """What the same number of threads was measured to do at most: float32 GFLOP/s, and GB/s of memory."""

    gflops: float
    gigabytes_per_second: float


@dataclass(frozen=True)
class KernelProfile:
    """One call of a kernel; `us` is the median, microseconds, and `share` its part of all kernels.

    What is None is not known: TVM's own kernels and changes of layout count no multiply-adds and have no reason.
    `peers_us` is the time of the same layers in each peer, None where its nodes do not divide as ours do.
    """

    name: str
    layers: tuple[str, ...]
    us: float
    share: float
    multiply_adds: int | None
    bytes: int
    gflops: float | None
    peak_share: float | None
    gigabytes_per_second: float
    bandwidth_share: float
    reason: str | None
    peers_us: Mapping[str, float | None]

    @classmethod
    def of(
        cls, call: KernelCall, us: float, total_us: float, peak: Peak, peers: Mapping[str, float | None]
    ) -> "KernelProfile":
        """From a call and its time among `total_us`."""
        nanoseconds = max(us, 1e-3) * 1000
        kernel = call.kernel
        gflops = 2 * kernel.multiply_adds / nanoseconds if kernel.multiply_adds else None
        return cls(
            name=kernel.name,
            layers=kernel.layers,
            us=us,
            share=us / total_us if total_us else 0.0,
            multiply_adds=kernel.multiply_adds or None,
            bytes=call.bytes,
            gflops=gflops,
            peak_share=gflops / peak.gflops if gflops is not None else None,
            gigabytes_per_second=call.bytes / nanoseconds,
            bandwidth_share=call.bytes / nanoseconds / peak.gigabytes_per_second,
            reason=kernel.reason or None,
            peers_us=peers,
        )


@dataclass(frozen=True)
class PeerProfile:
    """A peer: the median of its whole call, and its nodes, each with the kernel of ours that it goes with."""

    version: str
    call_us: float
    nodes: tuple[PeerNode, ...]

    def kernel_us(self, kernel: int) -> float | None:
        """Time of the nodes that go with one of our kernels; None when there are none."""
        times = [node.us for node in self.nodes if node.kernel == kernel]
        return sum(times) if times else None


@dataclass(frozen=True)
class ProfileReport:
    """`kernels` in running order; `call_us` is the median of a whole call from Python.

    `python_us` is how much longer that takes than the artifact's own entry, which calls the same kernels: the median of
    the differences of two calls, one after the other.
    """

    artifact: str
    target: str
    arithmetic: str
    threads: int
    runs: int
    peak: Peak
    kernels: tuple[KernelProfile, ...]
    call_us: float
    python_us: float
    peers: Mapping[str, PeerProfile]

    @property
    def kernels_us(self) -> float:
        """Sum of the kernels' medians."""
        return sum(kernel.us for kernel in self.kernels)

    def to_json(self) -> dict[str, Any]:
        """For a JSON file: everything."""
        return {**asdict(self), "kernels_us": self.kernels_us}

    def lines(self, explain: bool = False) -> list[str]:
        """For a person: a line for each kernel, the slowest first; with `explain`, what each is and why, too."""
        many = "thread" if self.threads == 1 else "threads"
        slowest = sorted(enumerate(self.kernels), key=lambda entry: -entry[1].us)
        head = ["#", "kernel", "us", "share", "GFLOP/s", "of peak", "GB/s", "of memory"]
        rows = [[*head, *self.peers, "layers"], *(self._row(index, kernel) for index, kernel in slowest)]
        return [
            f"{self.artifact}: {self.target}, {self.arithmetic}, {self.threads} {many}, {self.runs} runs, medians; "
            "# is the running order",
            f"measured peaks: {self.peak.gflops:.1f} GFLOP/s fp32, {self.peak.gigabytes_per_second:.1f} GB/s memory",
            "",
            *aligned(rows, left={1, len(rows[0]) - 1}),
            "",
            *([line for index, kernel in slowest for line in _explained(index, kernel)] if explain else []),
            *NOTES,
            *([PEER_NOTE] if self.peers else []),
            *(line for name, peer in self.peers.items() for line in self._peer_lines(name, peer)),
            self._total_line(),
        ]

    def _row(self, index: int, kernel: KernelProfile) -> list[str]:
        peers = []
        for us in kernel.peers_us.values():
            peers.append(f"{us:.1f} ({us / kernel.us:.2f})" if us is not None and kernel.us else "-")
        more = f" + {len(kernel.layers) - 1}" if len(kernel.layers) > 1 else ""
        return [
            str(index + 1),
            kernel.name,
            f"{kernel.us:.1f}",
            f"{100 * kernel.share:.1f} %",
            "-" if kernel.gflops is None else f"{kernel.gflops:.1f}",
            "-" if kernel.peak_share is None else f"{100 * kernel.peak_share:.0f} %",
            f"{kernel.gigabytes_per_second:.1f}",
            f"{100 * kernel.bandwidth_share:.0f} %",
            *peers,
            (kernel.layers[0] if kernel.layers else "-") + more,
        ]

    def _peer_lines(self, name: str, peer: PeerProfile) -> list[str]:
        ours = sum(kernel.us for kernel in self.kernels if kernel.peers_us[name] is not None)
        same = sum(node.us for node in peer.nodes if node.kernel is not None)
        others: dict[str, float] = defaultdict(float)
        for node in peer.nodes:
            if node.kernel is None:
                others[node.type] += node.us
        named = sorted(others.items(), key=lambda entry: -entry[1])
        shown = [f"{kind} {us:.1f}" for kind, us in named[:MOST_TYPES]]
        shown += [f"{len(named) - MOST_TYPES} other types"] if len(named) > MOST_TYPES else []
        other = sum(others.values())
        ratio = f" (ours {ours:.1f}, ratio {same / ours:.2f})" if ours else ""
        return [
            f"{name} {peer.version}: call {peer.call_us:.1f} us = our kernels' layers {same:.1f}{ratio} "
            f"+ other nodes {other:.1f} + between nodes {peer.call_us - same - other:.1f}",
            *([f"  other nodes: {', '.join(shown)}"] if shown else []),
        ]

    def _total_line(self) -> str:
        return (
            f"call {self.call_us:.1f} us, of which Python {self.python_us:.1f}; {len(self.kernels)} kernels, "
            f"called one by one, {self.kernels_us:.1f}"
        )


def _explained(index: int, kernel: KernelProfile) -> list[str]:
    return [
        f"{index + 1} {kernel.name}",
        f"  layers: {', '.join(kernel.layers) or 'not known'}",
        f"  tile: {kernel.reason or 'not one of ours'}",
        "",
    ]
