"""Kill a dataset run at random moments and resume it: `python tests/bench/kill_resume.py --kills 20 --images DIR
--model_prefix_path .../mod`.

After each kill, what the journal says is done must be on disk, byte for byte as in a run that nobody killed, and must
not be touched by the runs that follow. Each run that reaches its end must leave the same folder, the journal and the
report of failures included. Prints a line a kill and a summary; the exit code is 1 at the first thing that is not so.
With --finish each run that was killed goes on to its end before another one begins: as many ends as kills; else a run
is killed again and again until it reaches it. Other options, such as --draw, are the run's.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

SOURCE = Path(__file__).resolve().parents[2] / "source_code"
POLL_SECONDS = 0.002
SUFFIXES = (".txt", ".jpg")


class WrongError(Exception):
    """Something was lost, done twice or differs."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--images", required=True, type=Path)
    parser.add_argument("--model_prefix_path", required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--finish", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options, words_of_run = parser.parse_known_args()
    chance = random.Random(options.seed)
    words = ["--file_path", options.images, "--model_prefix_path", options.model_prefix_path]
    words += words_of_run
    with TemporaryDirectory() as folder:
        try:
            kill_and_resume([str(word) for word in words], Path(folder), options.kills, chance, options.finish)
        except WrongError as wrong:
            print(f"WRONG: {wrong}")
            return 1
    return 0


def kill_and_resume(words: list[str], folder: Path, kills: int, chance: random.Random, to_end: bool) -> None:
    started = time.monotonic()
    finish(start(words, folder / "whole"))
    longest = time.monotonic() - started
    expected = contents(folder / "whole")
    names = journaled(folder / "whole")
    print(f"a run takes {longest:.1f} s; {len(names)} images are done, {len(expected)} files", flush=True)
    ends = redone = killed = 0
    target = folder / "0"
    while killed < kills:
        before = stamps(target)
        process = start([*words, "--resume"], target)
        # Half of the moments are anywhere, and half of them where images are being done.
        seconds, lines = chance.uniform(0, longest), len(names) + 2
        if chance.random() < 0.5:
            seconds, lines = 10 * longest, len(journaled(target)) + chance.randint(0, len(names) // 2)
        wait(process, seconds, target, lines)
        ended = process.poll() is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
        redone += check_progress(target, expected, before)
        if ended:
            check_end(target, expected)
            ends += 1
            target = folder / str(ends)
            continue
        killed += 1
        partial = sum(name.rpartition("/")[2].startswith(".partial-") for name in contents(target))
        print(f"kill {killed}: {len(journaled(target))} done, {partial} files half written", flush=True)
        if to_end or killed == kills:
            before = stamps(target)
            finish(start([*words, "--resume"], target))
            redone += check_progress(target, expected, before)
            check_end(target, expected)
            ends += 1
            target = folder / str(ends)
    print(f"{killed} kills, {ends} runs to the end, all the same bytes; {redone} images done again for want of a line")


def start(words: list[str], save_dir: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "facedeploy.cli.main", "run", *words, "--save_dir", str(save_dir)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "TVM_BIND_THREADS": "0"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(process: "subprocess.Popen[bytes]") -> None:
    if process.wait() not in {0, 1}:  # 1: some images cannot be read.
        raise WrongError(f"a run that nobody killed ended with {process.returncode}")


def wait(process: "subprocess.Popen[bytes]", seconds: float, folder: Path, lines: int) -> None:
    """Until a run has ended, has taken so long, or has so many images done."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline and len(journaled(folder)) < lines:
        time.sleep(POLL_SECONDS)


def journaled(folder: Path) -> list[str]:
    """The images of the whole lines."""
    try:
        text = (folder / "run.journal").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return text[: text.rfind("\n") + 1].split("\n")[1:-1]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stamps(folder: Path) -> dict[str, tuple[bool, int, int]]:
    """For each prediction file and picture: whether its image is in the journal, and what a rewrite would change."""
    done = set(journaled(folder))
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.suffix in SUFFIXES and not path.name.startswith(".partial-"):
            about = path.stat()
            found[name] = (name[: -len(path.suffix)] in done, about.st_ino, about.st_mtime_ns)
    return found


def check_progress(folder: Path, expected: dict[str, bytes], before: dict[str, tuple[bool, int, int]]) -> int:
    """What is done is right, and what was done is as it was; returns how many images were done again."""
    names = journaled(folder)
    if len(set(names)) != len(names):
        raise WrongError("an image is in the journal twice")
    now = contents(folder)
    for name in names:
        for suffix in SUFFIXES:
            if now.get(name + suffix) != expected.get(name + suffix):
                raise WrongError(f"{name}{suffix} is in the journal and not as it should be")
    again = 0
    for name, (done, *old) in before.items():
        about = (folder / name).stat()
        changed = old != [about.st_ino, about.st_mtime_ns]
        if changed and done:
            raise WrongError(f"{name} was done twice")
        again += changed and name.endswith(".txt")
    return again


def check_end(folder: Path, expected: dict[str, bytes]) -> None:
    got = contents(folder)
    differing = sorted(name for name in {*got, *expected} if got.get(name) != expected.get(name))
    if differing:
        raise WrongError(f"{len(differing)} files differ at the end, such as {differing[0]}")


if __name__ == "__main__":
    sys.exit(main())
