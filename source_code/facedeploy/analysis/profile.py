"""Where the time of one inference goes, kernel by kernel, beside what the machine can do and what peers take."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from facedeploy.analysis.peer import match_nodes, microseconds
from facedeploy.analysis.peers import open_peers
from facedeploy.analysis.profile_report import KernelProfile, Peak, PeerProfile, ProfileReport
from facedeploy.compiler.peaks import Peaks
from facedeploy.compiler.target import resolve_target
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
    what opening a Model and `open_peers` raise.
    """
    model = Model.open(prefix, threads=threads)
    artifact = model.artifact
    spec = artifact.manifest.base.input
    tensor = (np.random.default_rng(0).random(spec.shape, np.float32) - 0.5) * 255
    peers = open_peers(versus, onnx, artifact, tensor, model.threads)
    trace = model.trace(tensor)
    calls = artifact.manifest.base.calls
    target = resolve_target(artifact.manifest.target.name)
    use_threads(model.threads)
    peaks = Peaks(target, model.threads)

    rounds = -(-runs // RUNS_A_ROUND)
    kernel_us: list[list[float]] = []
    call_us: list[float] = []
    main_us: list[float] = []
    peer_us: dict[str, list[float]] = {name: [] for name in peers}
    gflops, bandwidths = [], []
    for _ in range(rounds):
        gflops.append(peaks.gflops())
        bandwidths.append(peaks.gigabytes_per_second())
        trace.microseconds()  # What the others left in the caches is no matter of ours.
        for _ in range(RUNS_A_ROUND):
            kernel_us.append(trace.microseconds())
            main_us.append(microseconds(trace.main))
            call_us.append(microseconds(lambda: model.infer(tensor)))
        for name, peer in peers.items():
            peer_us[name] += peer.round(RUNS_A_ROUND)

    medians = [median(column) for column in zip(*kernel_us, strict=True)]
    layers = [call.kernel.layers for call in calls]
    profiles = {
        name: PeerProfile(peer.version, median(peer_us[name]), match_nodes(peer.nodes(), layers))
        for name, peer in peers.items()
    }
    peak = Peak(median(gflops), median(bandwidths))
    return ProfileReport(
        artifact=str(artifact.prefix),
        target=target.name,
        arithmetic=f"{artifact.manifest.arithmetic}, {artifact.manifest.weights}",
        threads=model.threads,
        runs=len(call_us),
        peak=peak,
        kernels=tuple(
            KernelProfile.of(
                call, us, sum(medians), peak, {name: peer.kernel_us(index) for name, peer in profiles.items()}
            )
            for index, (call, us) in enumerate(zip(calls, medians, strict=True))
        ),
        call_us=median(call_us),
        python_us=median(call - main for call, main in zip(call_us, main_us, strict=True)),
        peers=profiles,
    )
