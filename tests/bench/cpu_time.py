"""CPU time of each stage of a run, ms an image or frame: from JPEG files to prediction files, or from raw frames in a
pipe to JSON Lines. Run by hand:

    python tests/bench/cpu_time.py deploy_weights/official_retinaface_fp32/mod --json FILE
    python tests/bench/cpu_time.py deploy_weights/f192/mod --stdin 640x480

CPU time hardly depends on what else the machine does, unlike time on the clock. Each stage is timed by its thread's own
clock, all else is what the process took less their sum: queues, switches from thread to thread, the journal, memory
given back. Stages that run after the model find their code and data out of the caches, so they take two to three times
what they take in a loop of their own. The first pass does not count.

Run it once in five minutes, and not behind what removes many files, as it does itself in the end and bench_stream.py
does: ext4 looks at each inode that was freed in that time before it passes over it, so that a result of four such runs
in succession took 0.26, 0.48, 0.68 and 1.01 ms to write.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from statistics import median
from typing import Any

from bench_retinaface import VAL, cpu_name

MODEL, DECODE, OUTSIDE = "model", "decode", "outside decode and model"


class Meter:
    """Sums the CPU seconds of functions by their stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def time(self, owner: Any, name: str, stage: str) -> None:
        """Time a function wherever `owner.name` is called from now on."""
        true = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            begun = time.thread_time()
            try:
                return true(*arguments, **options)
            finally:
                self.seconds[stage] += time.thread_time() - begun

        setattr(owner, name, timed)


def meter_stages() -> Meter:
    from facedeploy.cli import frame_writer
    from facedeploy.cli.writer import PredictionWriter
    from facedeploy.runtime import operator
    from facedeploy.runtime.model import Model
    from facedeploy.video.raw_frames import RawFrames

    meter = Meter()
    meter.time(RawFrames, "_fill", "read")
    meter.time(operator.Decode, "__call__", DECODE)
    meter.time(operator.Preprocess, "__call__", "preprocess")
    meter.time(Model, "infer_batch", MODEL)
    meter.time(Model, "detect", "post-process")
    meter.time(operator.ToSource, "__call__", "to source")
    meter.time(PredictionWriter, "__call__", "write")
    meter.time(frame_writer, "json_line", "write")
    return meter


def measure(once: Callable[[], int], passes: int) -> dict[str, float]:
    """ms an image by stage, medians of `passes`, after one that does not count. `once` says how many images it did."""
    meter = meter_stages()
    once()
    rows = []
    for _ in range(passes):
        meter.seconds.clear()
        begun = time.process_time()
        count = once()
        total = time.process_time() - begun
        row = {stage: 1000 * seconds / count for stage, seconds in meter.seconds.items()}
        row |= {"the rest": 1000 * total / count - sum(row.values()), "total": 1000 * total / count}
        # Of each pass, since the machine may be slower in one of them.
        rows.append({**row, OUTSIDE: row["total"] - row.get(DECODE, 0.0) - row[MODEL]})
    return {stage: median(row[stage] for row in rows) for stage in rows[0]}


def run_files(prefix: Path, files: list[Path], folder: Path, words: list[str]) -> int:
    from facedeploy.cli.main import main

    listing = folder / "list.txt"
    listing.write_text("".join(f"{file}\n" for file in files))
    out = tempfile.mkdtemp(dir=folder)  # A new one: ext4 takes twice as long to replace files as to write them.
    line = ["run", "--file_path", listing, "--model_prefix_path", prefix, "--save_dir", out, *words]
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
        assert main([str(word) for word in line]) == 0
    return len(files)


def run_frames(prefix: Path, frames: list[bytes], count: int, size: str, folder: Path, words: list[str]) -> int:
    """The producer is a process of its own, whose CPU time is not counted."""
    from facedeploy.cli.main import main

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # It touches nothing but the pipe.
        os.close(reader)
        send_frames(writer, frames, count)
        os._exit(0)
    os.close(writer)
    kept, sys.stdin = sys.stdin, os.fdopen(reader, "rb")
    try:
        line = ["run", "--stdin", size, "--model_prefix_path", prefix, "--output", folder / "faces.jsonl", *words]
        with open(os.devnull, "w") as nothing, redirect_stderr(nothing):
            assert main([str(word) for word in line]) == 0
    finally:
        sys.stdin.close()
        sys.stdin = kept
        os.waitpid(child, 0)
    return count


def send_frames(descriptor: int, frames: list[bytes], count: int) -> None:
    """Write so many into a pipe, in turn, as fast as it takes them."""
    for number in range(count):
        left = memoryview(frames[number % len(frames)])
        while left:
            left = left[os.write(descriptor, left) :]


def frames_of(files: list[Path], size: str) -> list[bytes]:
    import cv2

    wh = tuple(map(int, size.split("x")))
    return [cv2.resize(cv2.imread(str(file)), wh).tobytes() for file in files[:: max(1, len(files) // 16)][:16]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix", type=Path, help="the artifact: .../mod")
    parser.add_argument("--stdin", metavar="WIDTHxHEIGHT", help="raw frames of this size in place of files")
    parser.add_argument("--images", type=int, help="the first so many files (default: all), or so many frames (1000)")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments, words = parser.parse_known_args()  # The others are those of `facedeploy run`.
    files = sorted((VAL / "images").rglob("*.jpg"))
    if not files:
        print(f"no images in {VAL}: set FACEDEPLOY_DATA")
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.stdin:
            frames, count = frames_of(files, arguments.stdin), arguments.images or 1000
            row = measure(
                lambda: run_frames(arguments.prefix, frames, count, arguments.stdin, folder, words), arguments.passes
            )
        else:
            chosen = files[: arguments.images]
            row = measure(lambda: run_files(arguments.prefix, chosen, folder, words), arguments.passes)
    print(f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores; {' '.join(map(str, sys.argv[1:]))}")
    print("| stage | CPU ms |\n| --- | --- |")
    for stage, spent in row.items():
        print(f"| {stage} | {spent:.3f} |")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"cpu": cpu_name(), "arguments": sys.argv[1:], "ms": row}, indent=1) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
