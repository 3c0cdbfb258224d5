"""Images a second from JPEG files to prediction files, beside plain pipelines of the peers. Run by hand:

    python tests/bench/bench_stream.py --json FILE
    python tests/bench/bench_stream.py --dtype fp16 --openvino-precision bf16

All contestants (stream_contestants.py) go through FACEDEPLOY_DATA's wider_val_dev on the same cores, in processes that
stay open, in turns; the files are in the page cache from a first pass that does not count. onnxruntime has a process
for each core. `ladder` is our artifact with the nearest of its canvases for each image, those of LADDER; `facedeploy`
keeps to the first one. Ratios are medians over the rounds of (images/s of ours / the peer's). CPU ms is that of all
threads. AP: `facedeploy eval` of the files that each contestant wrote.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from statistics import median

from bench_retinaface import CALIBRATION, CHECKPOINT, REPOSITORY, VAL, cli, cpu_name, versions

OURS = "facedeploy", "ladder"
LADDER = (7, 10), (10, 7), (8, 10), (10, 8)  # Height and width of its canvases, tenths of the first one's sides.
PROGRAM = Path(__file__).with_name("stream_contestants.py")


class Contestant:
    """Worker processes that share the images."""

    def __init__(self, folder: Path, name: str, model: Path, files: list[Path], processes: int, *options: object):
        self.name, self.out = name, folder / f"out_{name}"
        self.workers = []
        for number in range(processes):
            share = folder / f"{name}_{number}.lst"
            share.write_text("\n".join(map(str, files[number::processes])))
            words = [sys.executable, PROGRAM, name, model, share, self.out, *options]
            self.workers.append(
                subprocess.Popen(
                    list(map(str, words)),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                )
            )
        for worker in self.workers:
            self._line(worker)

    def once(self) -> tuple[float, float]:
        """Seconds of one pass, and of CPU."""
        begun = time.perf_counter()
        for worker in self.workers:
            worker.stdin.write("\n")
            worker.stdin.flush()
        cpu = sum(json.loads(self._line(worker)) for worker in self.workers)
        return time.perf_counter() - begun, cpu

    def _line(self, worker: subprocess.Popen) -> str:
        line = worker.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended; its message stands above")
        return line


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=("fp32", "fp16", "bf16", "int8"), default="fp32")
    parser.add_argument("--openvino-precision", default="f32", help="f32, bf16 or f16 (default %(default)s)")
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, help="the first so many only")
    parser.add_argument("--instances", type=int, default=2)
    parser.add_argument("--decoders", type=int, help="threads that decode for ours (default: the instances' own)")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not CHECKPOINT.is_file():
        print(f"no checkpoint at {CHECKPOINT}: set FACEDEPLOY_DATA")
        return 2
    files = sorted((VAL / "images").rglob("*.jpg"))[: arguments.images]
    size = arguments.size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cli(folder, "export", "--weight_path", CHECKPOINT, "--size", size)
        onnx = folder / f"export_model/mobilenet0.25_{size}.onnx"
        ladder = [[1, 3, *(size * part // 640 * 64 for part in parts)] for parts in LADDER]
        overrides = [
            f"frontend.ladder={json.dumps(ladder)}",
            f"frontend.shape.input=[1,3,{size},{size}]",
            f"frontend.checkpoint={onnx}",
            "name=stream",
        ]
        if size != 640:
            overrides += [f"dataset.process_ops.2.size=[{size},-1]"]
        if arguments.dtype != "fp32":
            overrides += [f"dataset.path={CALIBRATION}"]
        config = REPOSITORY / f"build_in/build/mobilenet0.25_{arguments.dtype}.yaml"
        cli(folder, "compile", config, *(word for override in overrides for word in ("--set", override)))
        prefix = folder / "deploy_weights/stream/mod"
        cores = len(os.sched_getaffinity(0))
        our_options: tuple[object, ...] = "--instances", arguments.instances
        if arguments.decoders is not None:
            our_options += "--decoders", arguments.decoders
        peer_options = "--size", size
        contestants = [
            Contestant(folder, "facedeploy", prefix, files, 1, *our_options),
            Contestant(folder, "ladder", prefix, files, 1, *our_options),
            Contestant(folder, "onnxruntime", onnx, files, cores, *peer_options),
            Contestant(folder, "openvino", onnx, files, 1, *peer_options, "--precision", arguments.openvino_precision),
        ]
        rows = measure(contestants, len(files), arguments.rounds)
        if arguments.images is None:
            for contestant in contestants:
                rows[contestant.name]["ap"] = ap_of(folder, contestant.out)
    report = {
        "cpu": cpu_name(),
        "cores": cores,
        "date": date.today().isoformat(),
        "versions": versions(),
        "dtype": arguments.dtype,
        "openvino_precision": arguments.openvino_precision,
        "size": size,
        "images": len(files),
        "rows": rows,
    }
    print_table(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def measure(contestants: list[Contestant], images: int, rounds: int) -> dict[str, dict]:
    for contestant in contestants:
        contestant.once()
    seconds: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    cpu: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for _ in range(rounds):
        for contestant in contestants:
            wall, busy = contestant.once()
            seconds[contestant.name].append(wall)
            cpu[contestant.name].append(busy)
    return {
        name: {
            "images_per_s": images / median(times),
            **{
                f"ratio_{ours}": median(time / other for time, other in zip(times, seconds[ours], strict=True))
                for ours in OURS
            },
            "cpu_ms": 1000 * median(cpu[name]) / images,
        }
        for name, times in seconds.items()
    }


def ap_of(folder: Path, out: Path) -> list[float]:
    result = folder / f"{out.name}.json"
    cli(folder, "eval", "-p", out, "-g", VAL / "ground_truth", "--json", result)
    values = json.loads(result.read_text())
    return [100 * values[level] for level in ("easy", "medium", "hard")]


def print_table(report: dict) -> None:
    print(f"{report['cpu']}, {report['cores']} cores, {report['images']} images, {report['date']}")
    print(report["versions"])
    print(
        "| pipeline, size | images/s | facedeploy is faster | ladder is | CPU ms an image | AP easy / medium / hard |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    precisions = dict.fromkeys(OURS, report["dtype"])
    precisions |= {"onnxruntime": "f32", "openvino": report["openvino_precision"]}
    for name, row in report["rows"].items():
        ap = " / ".join(f"{value:.2f}" for value in row.get("ap", ())) or "-"
        ratios = " | ".join("" if name == ours else f"{row[f'ratio_{ours}']:.2f}" for ours in OURS)
        print(
            f"| {name} {precisions[name]}, {report['size']} | {row['images_per_s']:.1f} | {ratios} "
            f"| {row['cpu_ms']:.1f} | {ap} |"
        )


if __name__ == "__main__":
    sys.exit(main())
