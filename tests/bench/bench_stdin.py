"""Frames a second of `facedeploy run --stdin`, raw 640x480 BGR frames in and JSON Lines out, on the canvas 192x256
(height x width), with 1 and 2 instances of one thread; and the CPU ms a frame by stage. Run by hand:

    python tests/bench/bench_stdin.py --json FILE

The frames are photos of FACEDEPLOY_DATA's wider_val_dev. The producer is a process that writes them from memory into a
pipe as fast as it takes them, on the same cores. Frames/s are those that the run itself tells, without its start.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from statistics import median

from bench_retinaface import CALIBRATION, CHECKPOINT, REPOSITORY, VAL, cli, cpu_name, versions
from cpu_time import frames_of, send_frames

SIZE, CANVAS_HW = "640x480", (192, 256)
INSTANCES = 1, 2
CPU_TIME = Path(__file__).with_name("cpu_time.py")


def compile_artifact(folder: Path, dtype: str) -> Path:
    height, width = CANVAS_HW
    cli(folder, "export", "--weight_path", CHECKPOINT, "--size", f"{height}x{width}")
    operations = (
        "[{type: DecodeImage}, {type: CvtColor, code: COLOR_RGB2BGR}, "
        f"{{type: Resize, size: [{width}, {height}], adaptive_side: long}}, {{type: Pad, size: [{width}, {height}]}}, "
        "{type: Normalize, div255: false, mean: [104, 117, 123], std: [1, 1, 1]}, {type: ToTensor}]"
    )
    overrides = [
        f"frontend.checkpoint={folder}/export_model/mobilenet0.25_{height}x{width}.onnx",
        f"frontend.shape.input=[1,3,{height},{width}]",
        f"dataset.process_ops={operations}",
        "name=stdin",
    ]
    if dtype != "fp32":
        overrides.append(f"dataset.path={CALIBRATION}")
    config = REPOSITORY / f"build_in/build/mobilenet0.25_{dtype}.yaml"
    cli(folder, "compile", config, *(word for override in overrides for word in ("--set", override)))
    return folder / "deploy_weights/stdin/mod"


def frames_per_second(prefix: Path, frames: list[bytes], count: int, instances: int) -> float:
    words = [sys.executable, "-m", "facedeploy.cli.main", "run", "--stdin", SIZE, "--model_prefix_path", prefix]
    words += ["--instances", instances, "--threads", 1]
    process = subprocess.Popen(
        list(map(str, words)), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    send_frames(process.stdin.fileno(), frames, count)
    said = process.communicate()[1].decode()
    match = re.search(rf"^{count} frames, .* ([0-9.]+) frames/s$", said, re.MULTILINE)
    if not match:
        raise SystemExit(f"the run said: {said}")
    return float(match[1])


def cpu_by_stage(folder: Path, prefix: Path, instances: int) -> dict[str, float]:
    out = folder / "cpu.json"
    words = [sys.executable, CPU_TIME, prefix, "--stdin", SIZE, "--json", out]
    words += ["--instances", instances, "--threads", 1]
    subprocess.run(list(map(str, words)), check=True, stdout=subprocess.DEVNULL)
    return json.loads(out.read_text())["ms"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prefix", type=Path, help="an artifact that is there (default: export and compile one)")
    parser.add_argument("--dtype", choices=("fp32", "fp16", "bf16", "int8"), default="fp32", help="of what is compiled")
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not CHECKPOINT.is_file():
        print(f"no checkpoint at {CHECKPOINT}: set FACEDEPLOY_DATA")
        return 2
    frames = frames_of(sorted((VAL / "images").rglob("*.jpg")), SIZE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prefix = arguments.prefix or compile_artifact(folder, arguments.dtype)
        rates: dict[int, list[float]] = {instances: [] for instances in INSTANCES}
        for _ in range(arguments.rounds):
            for instances, found in rates.items():
                found.append(frames_per_second(prefix, frames, arguments.frames, instances))
        rows = {
            instances: {"frames_per_s": median(found), "cpu_ms": cpu_by_stage(folder, prefix, instances)}
            for instances, found in rates.items()
        }
    report = {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "date": date.today().isoformat(),
        "versions": versions(),
        "size": SIZE,
        "canvas_hw": CANVAS_HW,
        "rows": rows,
    }
    print(f"{report['cpu']}, {report['cores']} cores, {report['date']}; {report['versions']}")
    stages = list(rows[INSTANCES[0]]["cpu_ms"])
    print(f"| instances | frames/s | {' | '.join(stages)} |")
    print(f"| --- | --- | {' | '.join('---' for _ in stages)} |")
    for instances, row in rows.items():
        spent = " | ".join(f"{row['cpu_ms'][stage]:.3f}" for stage in stages)
        print(f"| {instances} | {row['frames_per_s']:.0f} | {spent} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
