"""Which of the peers' precisions and int8 recipes are fast enough to be measured beside ours."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import peer_runners
from peer_runners import PRECISIONS, Peer

CLOSE = 1.25  # A trial is short: whatever took at most so much longer than the fastest of its group is measured too.


def installed() -> list[str]:
    """The libraries at hand; a line on stderr for each that is not."""
    for library in PRECISIONS:
        if find_spec(library) is None:
            print(f"{library} is not installed: left out", file=sys.stderr)
    return [library for library in PRECISIONS if find_spec(library) is not None]


def screen(onnx: Path, recipes: dict[str, Path], size: int, threads: int) -> tuple[list[Peer], dict[str, float]]:
    """The fastest of each group of peers, with those close to it and all at f32; and the ms of every one by name.

    Each runs in a process of its own. One that is refused there or crashes is left out, with a line on stderr.
    """
    trials = list(_trials(onnx, recipes, size, threads))
    fastest: dict[str, float] = {}
    for peer, ms in trials:
        fastest[peer.group] = min(ms, fastest.get(peer.group, ms))
    chosen = [peer for peer, ms in trials if ms <= CLOSE * fastest[peer.group] or peer.variant == "f32"]
    return chosen, {peer.name: ms for peer, ms in trials}


def _trials(onnx: Path, recipes: dict[str, Path], size: int, threads: int) -> Iterator[tuple[Peer, float]]:
    for library in installed():
        best = float("inf")
        for precision in PRECISIONS[library]:
            plain = Peer(library, onnx, precision)
            ms = _trial(plain, size, threads)
            if ms is None:
                continue
            yield plain, ms
            if ms > best:
                continue  # A precision that the CPU emulates serves no layer that a recipe leaves in float.
            best = ms
            for recipe, file in recipes.items():
                peer = Peer(library, file, precision, recipe)
                if (ms := _trial(peer, size, threads)) is not None:
                    yield peer, ms


def _trial(peer: Peer, size: int, threads: int) -> float | None:
    words = [peer.library, peer.file, "--precision", peer.precision, "--size", size, "--threads", threads]
    program = [sys.executable, peer_runners.__file__, *map(str, words)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return float(done.stdout)
    lines = done.stderr.strip().splitlines() or ["no reason given"]
    crash = done.returncode < 0
    reason = f"it crashed ({signal.Signals(-done.returncode).name})" if crash else lines[-1]
    print(f"{peer.name}: left out, {reason}", file=sys.stderr)
    return None
