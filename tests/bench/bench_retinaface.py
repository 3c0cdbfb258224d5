"""AP and latency of compiled RetinaFace artifacts beside onnxruntime and OpenVINO. Run by hand:

    python tests/bench/bench_retinaface.py --json FILE
    python tests/bench/bench_retinaface.py --no-ap --threads 2 --sizes 640
    python tests/bench/bench_retinaface.py --no-ap --target x86-64-v3
    python tests/bench/bench_retinaface.py --model Resnet50 --sizes 640
    python tests/bench/bench_retinaface.py --dtype int8

Reads images, ground truth and the official checkpoint from FACEDEPLOY_DATA (default ../shared); Resnet50 has seeded
random weights, and no AP. The peers run the same ONNX file; a missing one is left out; with the target x86-64-v3,
OpenVINO is held to AVX2 (onnxruntime cannot be). An int8 artifact is calibrated on FACEDEPLOY_DATA's wider_calib, and
the peers run its integers (QDQ) as well as the float model. Latency: numpy in, numpy out, without post-processing,
pinned to as many cores as threads; blocks of runs interleaved in one process; ratios are medians over the rounds of
(peer / ours) within a round. AP: the documented commands, through `facedeploy run` and `facedeploy eval`.
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

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("FACEDEPLOY_DATA", REPOSITORY.parent / "shared")).resolve()
CHECKPOINT = DATA / "weights" / "mobilenet0.25_Final.pth"
VAL = DATA / "data" / "wider_val_dev"
RUNS_PER_BLOCK = {"mobilenet0.25": 5, "Resnet50": 2}
CONFIGS = {"mobilenet0.25": "mobilenet0.25", "Resnet50": "resnet50"}
CALIBRATION = DATA / "data" / "wider_calib"


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
    if arguments.target == "x86-64-v3":
        os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"
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
    options = [word for override in overrides for word in ("--set", override)]
    config = REPOSITORY / f"build_in/build/{CONFIGS[arguments.model]}_{arguments.dtype}.yaml"
    integers = None
    if arguments.dtype == "int8":
        options += ["--set", f"dataset.path={CALIBRATION}"]
        integers = folder / f"integers_{size}.onnx"
        cli(folder, "quantize", config, *options, "--output", integers)
        options += ["--no-speed"]
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
    runs = RUNS_PER_BLOCK[arguments.model]
    files = {"": onnx} | ({" int8": integers} if integers else {})
    row |= latency(prefix, files, size, rounds=arguments.rounds, runs=runs, threads=arguments.threads)
    return row


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


def latency(prefix: Path, files: dict[str, Path], size: int, *, rounds: int, runs: int, threads: int) -> dict:
    import numpy as np

    from facedeploy.runtime.model import Model

    model = Model.open(prefix, threads=threads)
    tensor = (np.random.default_rng(0).random((1, 3, size, size), np.float32) - 0.5) * 255
    reference = model.infer(tensor)
    runners: dict[str, Callable[[], object]] = {"facedeploy": lambda: model.infer(tensor)}
    for name, make in (("onnxruntime", onnxruntime_runner), ("openvino", openvino_runner)):
        try:
            runners |= {f"{name}{kind}": make(file, tensor, threads) for kind, file in files.items()}
        except ImportError:
            print(f"{name} is not installed: left out", file=sys.stderr)
    peer = runners["onnxruntime"]() if "onnxruntime" in runners else None
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
    result: dict = {"ms": {name: float(np.median(values)) for name, values in samples.items()}}
    result["ratio"] = {
        name: float(np.median(np.array(values) / samples["facedeploy"])) for name, values in samples.items()
    }
    if peer is not None:
        names = [spec.name for spec in model.manifest.outputs]
        result["max_error"] = max(
            float(np.abs(reference[name] - other).max()) for name, other in zip(names, peer, strict=True)
        )
    return result


def onnxruntime_runner(onnx: Path, tensor: object, threads: int) -> Callable[[], list]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"input": tensor})


def openvino_runner(onnx: Path, tensor: object, threads: int) -> Callable[[], object]:
    import openvino

    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(str(onnx), "CPU", config).create_infer_request()
    request.set_input_tensor(openvino.Tensor(tensor))

    def run() -> object:
        request.infer()
        return [request.get_output_tensor(index).data for index in range(3)]

    return run


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
    peers = [name for name in report["rows"][0]["ms"] if name != "facedeploy"]
    print(
        f"{report['cpu']}, {report['threads']} thread(s), {report['dtype']}, target {report['target']}, "
        f"{report['date']}"
    )
    print(report["versions"])
    head = [
        f"net, {report['dtype']}",
        "AP easy / medium / hard",
        "ms",
        *(f"{name} ms (ratio)" for name in peers),
        "bytes",
        "compile s",
    ]
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for row in report["rows"]:
        ap = " / ".join(f"{value:.2f}" for value in row["ap"]) if "ap" in row else "-"
        others = [f"{row['ms'][name]:.1f} ({row['ratio'][name]:.2f})" for name in peers]
        cells = [f"{row['net']}, {row['size']}", ap, f"{row['ms']['facedeploy']:.1f}", *others]
        print("| " + " | ".join([*cells, f"{row['artifact_bytes']:,}", f"{row['compile_s']:.1f}"]) + " |")


if __name__ == "__main__":
    sys.exit(main())
