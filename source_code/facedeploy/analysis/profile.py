"""Where the time of one inference goes, kernel by kernel, beside what the machine can do and what peers take."""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from facedeploy.analysis.peer import match_nodes, microseconds
from facedeploy.analysis.peers import open_peers
from facedeploy.analysis.profile_report import KernelProfile, Peak, PeerProfile, ProfileReport
from facedeploy.artifact.manifest import Kernel
from facedeploy.compiler.peaks import Peaks
from facedeploy.compiler.target import resolve_target
from facedeploy.core.errors import ArtifactError
from facedeploy.runtime.model import Model
from facedeploy.runtime.threads import use_threads

RUNS_A_ROUND = 10


def profile(
    prefix: str | Path,
    *,
    runs: int = 100,
    threads: int | None = None,
    onnx: Path | None = None,
    versus: Sequence[str] = (),
) -> ProfileReport:
    """Measure every kernel of the artifact's float entry on random input.

    Kernels, whole calls, peaks and peers take turns, in rounds of 10 runs (`runs` in all, rounded up), so that a
    machine that changes its pace changes it for all. `threads` as in `Model.open`; peaks and peers have as many. Raises
    what opening a Model and `open_peers` raise, and ArtifactError when the manifest does not list the kernels that run.
    """
    model = Model.open(prefix, threads=threads)
    artifact = model.artifact
    spec = artifact.manifest.inputs[0]
    tensor = (np.random.default_rng(0).random(spec.shape, np.float32) - 0.5) * 255
    peers = open_peers(versus, onnx, artifact, tensor, model.threads)
    trace = model.trace(tensor)
    records = records_of([call.name for call in trace.calls], artifact.manifest.kernels, artifact.prefix)
    target = resolve_target(artifact.manifest.target.name)
    use_threads(model.threads)
    peaks = Peaks(target, model.threads)

    rounds = -(-runs // RUNS_A_ROUND)
    kernel_us: list[list[float]] = []
    call_us: list[float] = []
    overhead_us: list[float] = []
    peer_us: dict[str, list[float]] = {name: [] for name in peers}
    gflops, bandwidths = [], []
    for _ in range(rounds):
        gflops.append(peaks.gflops())
        bandwidths.append(peaks.gigabytes_per_second())
        trace.microseconds()  # What the others left in the caches is no matter of ours.
        for _ in range(RUNS_A_ROUND):
            trace.copy_input()
            start = time.thread_time_ns()
            kernel_us.append(trace.microseconds())
            between = time.thread_time_ns()
            call_us.append(microseconds(lambda: model.infer(tensor)))
            overhead_us.append((time.thread_time_ns() - 2 * between + start) / 1000 + sum(trace.cost_us))
        for name, peer in peers.items():
            peer_us[name] += peer.round(RUNS_A_ROUND)

    medians = [median(column) for column in zip(*kernel_us, strict=True)]
    layers = [record.layers if record else () for record in records]
    profiles = {
        name: PeerProfile(peer.version, median(peer_us[name]), match_nodes(peer.nodes(), layers))
        for name, peer in peers.items()
    }
    peak = Peak(median(gflops), median(bandwidths))
    return ProfileReport(
        artifact=str(artifact.prefix),
        target=target.name,
        threads=model.threads,
        runs=len(call_us),
        peak=peak,
        kernels=tuple(
            KernelProfile.of(
                call.name,
                call.bytes,
                record,
                us,
                sum(medians),
                peak,
                {name: peer.kernel_us(index) for name, peer in profiles.items()},
            )
            for index, (call, record, us) in enumerate(zip(trace.calls, records, medians, strict=True))
        ),
        call_us=median(call_us),
        overhead_us=median(overhead_us),
        peers=profiles,
    )


def records_of(calls: Sequence[str], kernels: Sequence[Kernel], prefix: Path) -> list[Kernel | None]:
    """The record of each call of a kernel, by name; None for those that have none.

    Several calls may share a name, so records are taken in their order. Raises ArtifactError when they do not fit.
    """
    listed = [kernel.name for kernel in kernels]
    if [name for name in calls if name in listed] != listed:
        raise ArtifactError(f"{prefix} runs other kernels than its manifest lists: compile the model again")
    left = iter(kernels)
    return [next(left) if name in listed else None for name in calls]
