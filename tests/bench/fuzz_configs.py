"""Damage the files that users write: `python tests/bench/fuzz_configs.py --count 20000 --model_prefix_path .../mod`.

Valid files of every format that facedeploy reads but images, ONNX and torch's (build YAML, `--set`, vdsp JSON,
mod.json, run.journal, tuning.json, range cache, prediction files, ground truth, lists, npz, MXNet and Caffe nets,
calibration tables) are mutated by a seeded generator, and given to the product's own reader: each must load, or be
refused in one clear sentence, with no other exception, in 2 s of CPU and 200 MB.
Prints a line a format; the exit code is 1 when something is not so. `--only FORMAT --first N --count 1` repeats one.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
from collections import Counter
from concurrent import futures
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/fuzz"), str(ROOT / "tests/importers/caffe"), str(ROOT / "source_code")]
os.environ.setdefault("TVM_BIND_THREADS", "0")
os.environ.setdefault("TVM_NUM_THREADS", "1")
CPU_SECONDS, MEGABYTES = 2.0, 200.0
NO_END_SECONDS = 60.0
PROGRESS = 2000  # Mutations from one line that tells how far it is to the next.
GOOD = ("loads", "refused")
SHOWN = 300  # Characters of what was said.

_formats = {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_prefix_path", required=True, type=Path, help="an artifact, for mod.json and journals")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the first mutation")
    parser.add_argument("--only", help="one format")
    parser.add_argument("--json", type=Path, help="write figures and failures there")
    options = parser.parse_args()
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        results = run(options, Path(folder))
    names = list(dict.fromkeys(result["format"] for result in results))
    print(f"{'format':<20}{'mutations':>10}{'loads':>8}{'refused':>9}{'wrong':>7}{'slowest s':>11}{'most MB':>9}")
    rows = [row(name, [result for result in results if result["format"] == name]) for name in names]
    for each in [*rows, row("all", results)]:
        print("{:<20}{:>10}{:>8}{:>9}{:>7}{:>11.2f}{:>9.0f}".format(*each.values()))
    wrong = [result for result in results if result["kind"] not in GOOD]
    for kind, count in Counter(result["kind"] for result in wrong).items():
        print(f"WRONG: {count} x {kind}")
    print(f"{len(results)} mutations in {time.monotonic() - started:.0f} s")
    if options.json:
        options.json.write_text(json.dumps({"seed": options.seed, "formats": rows, "failures": wrong}, indent=1) + "\n")
    return int(bool(wrong))


def row(name: str, results: list[dict]) -> dict:
    kinds = Counter(result["kind"] for result in results)
    return {
        "format": name,
        "mutations": len(results),
        "loads": kinds["loads"],
        "refused": kinds["refused"],
        "wrong": len(results) - kinds["loads"] - kinds["refused"],
        "slowest_s": max(result["seconds"] for result in results),
        "most_mb": max(result["megabytes"] for result in results),
    }


def run(options: argparse.Namespace, folder: Path) -> list[dict]:
    """All mutations, the formats in turn, in a process that is replaced when it dies or does not come back.

    One that does not is tried once more: a machine may have stood still.
    """
    results, pool, started, tries = [], None, 0, 0
    index, end = options.first, options.first + options.count
    while index < end:
        if pool is None:
            started += 1
            words = folder / str(started), options.model_prefix_path.resolve(), options.only
            pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), open_formats, words)
            names = pool.submit(names_of_formats).result()
        try:
            result = pool.submit(try_one, options.seed, index).result(NO_END_SECONDS)
        except (BrokenProcessPool, futures.TimeoutError) as error:
            for process in (pool._processes or {}).values():
                process.kill()
            pool, tries = None, tries + 1
            died = isinstance(error, BrokenProcessPool)
            if not died and tries < 2:
                continue
            name, kind = names[index % len(names)], "the process died" if died else "no end"
            result = {"format": name, "kind": kind, "seconds": 0.0, "megabytes": 0.0}
        result["index"] = index
        results.append(result)
        index, tries = index + 1, 0
        if result["kind"] not in GOOD:
            print(json.dumps(result), flush=True)
        if result["megabytes"] > MEGABYTES and pool:  # Its peak would hide what the following ones take.
            pool.shutdown()
            pool = None
        if len(results) % PROGRESS == 0:
            print(f"{len(results)} mutations", flush=True)
    return results


def open_formats(folder: Path, prefix: Path, only: str | None) -> None:
    from formats import all_formats

    folder.mkdir()
    found = all_formats(folder, prefix, ROOT)
    _formats.update({name: each for name, each in found.items() if only in (None, name)})
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def names_of_formats() -> list[str]:
    return list(_formats)


def try_one(seed: int, index: int) -> dict:
    from judge import judge, mutation

    names = list(_formats)
    each = _formats[names[index % len(names)]]
    damages, content = mutation(each, seed, index)
    peak, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    verdict = judge(each, content)
    seconds = time.process_time() - started
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    kind = verdict.kind
    if kind in GOOD and (seconds > CPU_SECONDS or megabytes > MEGABYTES):
        kind = "slow" if seconds > CPU_SECONDS else "much memory"
    said = verdict.said[:SHOWN]
    return {
        "format": each.name, "damages": damages, "kind": kind, "said": said, "seconds": seconds, "megabytes": megabytes,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
