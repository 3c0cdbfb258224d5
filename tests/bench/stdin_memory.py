"""`facedeploy run --stdin` over many frames: how its memory grows, and whether any chunking gives the same lines.

python tests/bench/stdin_memory.py deploy_weights/official_retinaface_fp32/mod --frames 100000 --chunkings 1000
"""

import argparse
import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from facedeploy.cli.options import positive, size_wh
from facedeploy.video.raw_frames import RawFrames


def resident_kib(process: int) -> int:
    """Memory that a process has now."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def stream(arguments: argparse.Namespace) -> None:
    """Send frames, note the memory once it runs at its pace, and at the end."""
    width, height = arguments.size
    random_pixels = np.random.default_rng(0)
    frames = [random_pixels.integers(0, 256, height * width * 3, np.uint8).tobytes() for _ in range(8)]
    words = [sys.executable, "-m", "facedeploy.cli.main", "run", "--stdin", f"{width}x{height}"]
    words += ["--model_prefix_path", str(arguments.prefix), "--drop", arguments.drop]
    words += ["--instances", str(arguments.instances)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    lines = 0

    def count() -> None:
        nonlocal lines
        for _ in process.stdout:
            lines += 1

    counter = threading.Thread(target=count)
    counter.start()
    noted = {}
    for number in range(arguments.frames):
        process.stdin.write(frames[number % len(frames)])
        if number % max(1, arguments.frames // 10) == 0 and number:
            noted[number] = resident_kib(process.pid)
            print(f"frame {number:>8}  {noted[number] / 1024:8.1f} MiB", flush=True)
    last = resident_kib(process.pid)
    ended = time.monotonic()
    process.stdin.close()
    counter.join()
    code = process.wait()
    print(
        f"exit code {code}, {time.monotonic() - ended:.2f} s after the end; {lines} lines of {arguments.frames} frames"
    )
    if noted:
        print(f"growth from frame {min(noted)} on: {(last - noted[min(noted)]) / 1024:+.1f} MiB")


def send_in_pieces(descriptor: int, data: bytes, dice: random.Random, most: int) -> None:
    """Write all of `data`, up to `most` bytes at a time."""
    with os.fdopen(descriptor, "wb", buffering=0) as pipe:
        while data:
            data = data[pipe.write(data[: dice.randint(1, most)]) :]


def chunkings(count: int) -> None:
    """Frames read off a real pipe, written in pieces of random sizes."""
    wrong = 0
    for seed in range(count):
        dice = random.Random(seed)
        hw = dice.randint(1, 40), dice.randint(1, 40)
        size = hw[0] * hw[1] * 3
        data = dice.randbytes(size * dice.randint(0, 20) + dice.choice([0, dice.randrange(size)]))
        reader, writer = os.pipe()
        thread = threading.Thread(target=send_in_pieces, args=(writer, data, dice, 3 * size))
        thread.start()
        with os.fdopen(reader, "rb", buffering=0) as pipe:
            frames = RawFrames(pipe, hw)
            got = b"".join(frame.pixels.tobytes() for frame in frames)
        thread.join()
        whole = len(data) // size * size
        same = hashlib.sha256(got).digest() == hashlib.sha256(data[:whole]).digest()
        wrong += not (same and (frames.failure is None) == (whole == len(data)))
    print(f"{count} chunkings, {wrong} wrong")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix", type=Path, help="the artifact: .../mod")
    parser.add_argument("--frames", type=positive, default=100_000)
    parser.add_argument("--size", type=size_wh, default=(160, 120), metavar="WIDTHxHEIGHT")
    parser.add_argument("--instances", type=positive, default=1)
    parser.add_argument("--drop", choices=["never", "late"], default="never")
    parser.add_argument("--chunkings", type=positive, default=1000)
    arguments = parser.parse_args()
    chunkings(arguments.chunkings)
    stream(arguments)


if __name__ == "__main__":
    main()
