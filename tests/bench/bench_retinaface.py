"""AP and latency of compiled RetinaFace artifacts beside onnxruntime and OpenVINO. Run by hand:

    python tests/bench/bench_retinaface.py --json FILE
    python tests/bench/bench_retinaface.py --no-ap --threads 2 --sizes 640
    python tests/bench/bench_retinaface.py --no-ap --target x86-64-v3
    python tests/bench/bench_retinaface.py --model Resnet50 --sizes 640
    python tests/bench/bench_retinaface.py --dtype int8

Reads images, ground truth and the official checkpoint from FACEDEPLOY_DATA (default ../shared); Resnet50 has seeded
random weights, and no AP. The peers run the same ONNX file; a missing one is left out; where the target is named,
OpenVINO is held to its instruction set (onnxruntime cannot be). Latency: numpy in, numpy out, without post-processing,
pinned to as many cores as threads; blocks of runs interleaved in one process; ratios are medians over the rounds of
(peer / ours) within a round. AP: the documented commands, through `facedeploy run` and `facedeploy eval`.

Artifacts in int8, fp16 and bf16 are compared with the fastest peer at any precision: onnxruntime in f32, OpenVINO in
f32, bf16 and f16, both in int8 by each recipe of qdq_recipes.py and by ours (`facedeploy quantize`), all calibrated on
FACEDEPLOY_DATA's wider_calib. Each is tried first in a process of its own; what crashes or is refused is left out with
a line on stderr. The rounds have the fastest of each, those within 25 % of it, and f32; the table has the fastest of
the rounds, its last column the fastest of all; the JSON has what was tried, too.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from peer_runners import Peer, make_runner, random_tensor
from peer_screening import installed, screen

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("FACEDEPLOY_DATA", REPOSITORY.parent / "shared")).resolve()
CHECKPOINT = DATA / "weights" / "mobilenet0.25_Final.pth"
VAL = DATA / "data" / "wider_val_dev"
RUNS_PER_BLOCK = {"mobilenet0.25": 5, "Resnet50": 2}
CONFIGS = {"mobilenet0.25": "mobilenet0.25", "Resnet50": "resnet50"}
CALIBRATION = DATA / "data" / "wider_calib"
RECIPE_IMAGES = 16  # That recipes are calibrated on: ranges hardly matter to speed.
# What OpenVINO (oneDNN) may use at most for each target that is named.
PEER_ISA = {
    "x86-64-v3": "AVX2",
    "x86-64-v3+avxvnni": "AVX2_VNNI",
    "x86-64-v4": "AVX512_CORE",
    "x86-64-v4+avx512vnni": "AVX512_CORE_VNNI",
    "x86-64-v4+amx-int8": "AVX512_CORE_AMX",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=CONFIGS, default="mobilenet0.25")
    parser.add_argument("--dtype", choices=("fp32", "fp16", "bf16", "int8"), default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--target", default="host", help="backend.target of the artifact")
    parser.add_argument("--sizes", type=int, nargs="+", default=[640, 320])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-ap", action="store_true", help="latency only")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    arguments.no_ap |= arguments.model == "Resnet50"
    if arguments.model == "mobilenet0.25" and not CHECKPOINT.is_file():
        print(f"no checkpoint at {CHECKPOINT}: set FACEDEPLOY_DATA")
        return 2
    cores = sorted(os.sched_getaffinity(0))[-arguments.threads :]
    os.sched_setaffinity(0, cores)  # For ours and the peers alike.
    os.environ["TVM_NUM_THREADS"] = str(arguments.threads)
    if arguments.target in PEER_ISA:
        os.environ["ONEDNN_MAX_CPU_ISA"] = PEER_ISA[arguments.target]
    with tempfile.TemporaryDirectory() as folder:
        rows = [bench(Path(folder), size, arguments) for size in arguments.sizes]
    report = {
        "cpu": cpu_name(),
        "dtype": arguments.dtype,
        "threads": arguments.threads,
        "target": arguments.target,
        "date": date.today().isoformat(),
        "versions": versions(),
        "rows": rows,
    }
    print_table(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def bench(folder: Path, size: int, arguments: argparse.Namespace) -> dict:
    onnx = export(folder, arguments.model, size)
    started = time.monotonic()
    overrides = [f"frontend.shape.input=[1,3,{size},{size}]", f"frontend.checkpoint={onnx}", f"name=bench_{size}"]
    overrides += [f"backend.target={arguments.target}"]
    if size != 640:
        overrides += [f"dataset.process_ops.2.size=[{size},-1]"]
    if arguments.dtype != "fp32":
        overrides += [f"dataset.path={CALIBRATION}"]
    options = [word for override in overrides for word in ("--set", override)]
    if arguments.dtype == "int8":
        options += ["--no-speed"]
    config = REPOSITORY / f"build_in/build/{CONFIGS[arguments.model]}_{arguments.dtype}.yaml"
    cli(folder, "compile", config, *options)
    row: dict = {"net": arguments.model, "size": size, "compile_s": time.monotonic() - started}
    prefix = folder / f"deploy_weights/bench_{size}/mod"
    row["artifact_bytes"] = sum(path.stat().st_size for path in prefix.parent.iterdir())
    if not arguments.no_ap:
        out = folder / f"out_{size}"
        cli(folder, "run", "--file_path", VAL, "--model_prefix_path", prefix, "--save_dir", out)
        result = folder / f"ap_{size}.json"
        cli(folder, "eval", "-p", out, "-g", VAL / "ground_truth", "--json", result)
        values = json.loads(result.read_text())
        row["ap"] = [100 * values[level] for level in ("easy", "medium", "hard")]
    if arguments.dtype == "fp32":
        peers = {library: Peer(library, onnx) for library in installed()}
    else:
        recipes = quantize(folder, onnx, arguments.model, overrides)
        chosen, row["tried_ms"] = screen(onnx, recipes, size, arguments.threads)
        peers = {peer.name: peer for peer in chosen}
    runs = RUNS_PER_BLOCK[arguments.model]
    row |= latency(prefix, peers, size, rounds=arguments.rounds, runs=runs, threads=arguments.threads)
    if arguments.dtype != "fp32":
        row["fastest"] = fastest(peers, row["ratio"])
    return row


def quantize(folder: Path, onnx: Path, model: str, overrides: list[str]) -> dict[str, Path]:
    """QDQ files by the name of who made them, calibrated as the int8 config of the model says."""
    from qdq_recipes import quantize_by_recipes

    from facedeploy.config.load import load_build_config
    from facedeploy.quantize.samples import calibration_set

    config = REPOSITORY / f"build_in/build/{CONFIGS[model]}_int8.yaml"
    ours = folder / f"integers_{onnx.stem}.onnx"
    options = [word for override in overrides for word in ("--set", override)]
    cli(folder, "quantize", config, *options, "--output", ours)
    dataset = load_build_config(config, [*overrides, f"dataset.sampler.get_data_num={RECIPE_IMAGES}"]).dataset
    return quantize_by_recipes(onnx, calibration_set(dataset), folder) | {"facedeploy": ours}


def fastest(peers: dict[str, Peer], ratios: dict[str, float]) -> dict[str, str]:
    """The name of the fastest of each group, and of all."""
    groups = {
        peer.group: [other.name for other in peers.values() if other.group == peer.group] for peer in peers.values()
    }
    return {group: min(names, key=ratios.__getitem__) for group, names in (groups | {"any": list(peers)}).items()}


def export(folder: Path, model: str, size: int) -> Path:
    if model == "mobilenet0.25":
        cli(folder, "export", "--weight_path", CHECKPOINT, "--size", size)
    else:
        code = (
            "from pathlib import Path; from facedeploy.export.export_model import export_model; "
            "from facedeploy.export.random_weights import random_weights; from facedeploy.models.specs import MODELS; "
            f"spec = MODELS[{model!r}]; Path('export_model').mkdir(exist_ok=True); "
            f"export_model(spec, ({size}, {size}), weights=random_weights(spec, 0), output_dir=Path('export_model'))"
        )
        subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / f"export_model/{model}_{size}.onnx"


def latency(prefix: Path, peers: dict[str, Peer], size: int, *, rounds: int, runs: int, threads: int) -> dict:
    import numpy as np

    from facedeploy.runtime.model import Model

    model = Model.open(prefix, threads=threads)
    tensor = random_tensor(size)
    reference = model.infer(tensor)
    runners = {"facedeploy": lambda: model.infer(tensor)}
    runners |= {name: make_runner(peer, tensor, threads) for name, peer in peers.items()}
    oracle = next((name for name, peer in peers.items() if peer.group == "onnxruntime float"), None)
    expected = runners[oracle]() if oracle else None
    result = interleaved(runners, rounds=rounds, runs=runs)
    if expected is not None:
        names = [spec.name for spec in model.manifest.base.outputs]
        result["max_error"] = max(
            float(np.abs(reference[name] - other).max()) for name, other in zip(names, expected, strict=True)
        )
    return result


def interleaved(runners: dict[str, Callable[[], object]], *, rounds: int, runs: int) -> dict:
    """Medians in ms, and of the ratios to `facedeploy` within a round, of blocks of runs one after the other."""
    import numpy as np

    samples: dict[str, list[float]] = {name: [] for name in runners}
    for run in runners.values():
        run()
    for _ in range(rounds):
        for name, run in runners.items():
            times = []
            for _ in range(runs):
                begun = time.perf_counter()
                run()
                times.append(time.perf_counter() - begun)
            samples[name].append(float(np.median(times)) * 1000)
    return {
        "ms": {name: float(np.median(values)) for name, values in samples.items()},
        "ratio": {name: float(np.median(np.array(values) / samples["facedeploy"])) for name, values in samples.items()},
    }


def cli(folder: Path, *words: object) -> None:
    program = [sys.executable, "-m", "facedeploy.cli.main", *map(str, words)]
    subprocess.run(program, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("facedeploy", "apache-tvm", "onnxruntime", "openvino"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def print_table(report: dict) -> None:
    cells = [peer_cells(row) for row in report["rows"]]
    peers = list(dict.fromkeys(head for row in cells for head in row))
    print(
        f"{report['cpu']}, {report['threads']} thread(s), {report['dtype']}, target {report['target']}, "
        f"{report['date']}"
    )
    print(report["versions"])
    head = [f"net, {report['dtype']}", "AP easy / medium / hard", "ms", *peers, "bytes", "compile s"]
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for row, others in zip(report["rows"], cells, strict=True):
        ap = " / ".join(f"{value:.2f}" for value in row["ap"]) if "ap" in row else "-"
        words = [f"{row['net']}, {row['size']}", ap, f"{row['ms']['facedeploy']:.1f}"]
        words += [others.get(peer, "-") for peer in peers]
        print("| " + " | ".join([*words, f"{row['artifact_bytes']:,}", f"{row['compile_s']:.1f}"]) + " |")


def peer_cells(row: dict) -> dict[str, str]:
    """What a row says of the peers, by the head of the column: of each, or of the fastest of each group and of all."""

    def measured(name: str) -> str:
        return f"{row['ms'][name]:.1f} ({row['ratio'][name]:.2f})"

    if "fastest" not in row:
        return {f"{name} ms (ratio)": measured(name) for name in row["ms"] if name != "facedeploy"}
    cells = {
        f"{group} ms (ratio)": f"{name} {measured(name)}" for group, name in row["fastest"].items() if group != "any"
    }
    return cells | {"fastest peer (ratio)": f"{row['fastest']['any']} ({row['ratio'][row['fastest']['any']]:.2f})"}


if __name__ == "__main__":
    sys.exit(main())
