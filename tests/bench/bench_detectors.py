"""AP and latency of every detector that has a checkpoint, beside onnxruntime and OpenVINO. Run by hand:

    python tests/bench/bench_detectors.py --json FILE [--detectors slim yunet]
    python tests/bench/bench_detectors.py --dtype int8
    python tests/bench/bench_detectors.py --dtype fp16

Reads images, ground truth and checkpoints from FACEDEPLOY_DATA (default ../shared). Each is compiled from its shipped
config, at 640; the peers run the same net as ONNX, as it was exported or imported, on one thread, pinned. Latency:
numpy in, numpy out, without post-processing; interleaved as in bench_retinaface.py. AP is of `wider_val_dev`, for nets
that find faces. In int8 the peers run our QDQ model (`facedeploy quantize`) and the float one, OpenVINO that in bf16,
too, where the CPU has it; ours is calibrated on `wider_calib` as the config says. In fp16 and bf16 theirs is the
float net, OpenVINO's in that precision, too.
"""

import argparse
import json
import os
import sys
import tempfile
from datetime import date
from pathlib import Path

from bench_retinaface import CALIBRATION, DATA, REPOSITORY, VAL, cli, cpu_name, interleaved, versions
from peer_runners import Peer, make_runner, random_tensor
from peer_screening import installed

WEIGHTS = DATA / "weights"
MXNET, CAFFE, LFFD = WEIGHTS / "mxnet", WEIGHTS / "caffe", WEIGHTS / "mxnet" / "lffd"
SIZE = 640
# Detector -> its checkpoint, and a second file where it has one.
DETECTORS: dict[str, tuple[Path, ...]] = {
    "mobilenet0.25_relu": (WEIGHTS / "mobilenet0.25_relu_2019-09.pth",),
    "mobilenet0.25_FD1MB": (WEIGHTS / "mobilenet0.25_FD1MB_Final.pth",),
    "slim": (WEIGHTS / "slim_Final.pth",),
    "RFB": (WEIGHTS / "RFB_Final.pth",),
    "lightDSFD": (WEIGHTS / "light_DSFD.pth",),
    "insightface_mnet.25": (MXNET / "mnet.25-symbol.json", MXNET / "mnet.25-0000.params"),
    "insightface_mnet25_caffe": (CAFFE / "mnet25.prototxt", CAFFE / "mnet25.caffemodel"),
    "faster_mobile_16": (MXNET / "16-symbol.json", MXNET / "16-0000.params"),
    "faster_mobile_16and32": (MXNET / "16and32-symbol.json", MXNET / "16and32-0000.params"),
    "faster_mobile_8and16": (MXNET / "8and16-symbol.json", MXNET / "8and16-0000.params"),
    "yunet": (WEIGHTS / "yunet_n_640_640.ShiqiYu.onnx",),
    "lffd_head": (
        LFFD / "symbol_10_160_17L_4scales_v1_deploy.json",
        LFFD / "train_10_160_17L_4scales_v1_iter_800000.params",
    ),
    "lffd_plate": (
        LFFD / "symbol_64_512_16L_3scales_v1_deploy.json",
        LFFD / "train_64_512_16L_3scales_v1_iter_1000000.params",
    ),
}
NO_FACES = ("lffd_head", "lffd_plate")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", nargs="+", choices=DETECTORS, default=list(DETECTORS), metavar="NAME")
    parser.add_argument("--dtype", choices=("fp32", "fp16", "bf16", "int8"), default="fp32")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    os.environ["TVM_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        rows = [bench(Path(folder), name, arguments.dtype, arguments.rounds) for name in arguments.detectors]
    report = {"cpu": cpu_name(), "date": date.today().isoformat(), "versions": versions(), "dtype": arguments.dtype}
    report["rows"] = rows
    print(report["cpu"], report["date"], report["versions"])
    print_table(rows, arguments.dtype)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def bench(folder: Path, name: str, dtype: str, rounds: int) -> dict:
    from facedeploy.runtime.model import Model

    config, options = config_of(name, dtype), frontend(folder, name)
    onnx = onnx_of(folder, name, options)
    peers = [Peer(library, onnx) for library in installed()]
    if dtype in ("fp16", "bf16"):
        options += ["--set", f"backend.dtype={dtype}", "--set", f"name={name}_{dtype}"]
        peers += [Peer("openvino", onnx, dtype.replace("fp", "f"))] if "openvino" in installed() else []
    if dtype == "int8":
        options += ["--set", f"dataset.path={CALIBRATION}"]
        integers = folder / f"{name}_qdq.onnx"
        cli(folder, "quantize", config, *options, "--output", integers)
        peers += [Peer(library, integers, recipe="facedeploy") for library in installed()]
        peers += [Peer("openvino", onnx, "bf16")] if "openvino" in installed() else []
    cli(folder, "compile", config, *options, *(["--no-speed"] if dtype == "int8" else []))
    prefix = folder / f"deploy_weights/{name}_{dtype}/mod"
    row: dict = {"net": name, "bytes": sum(path.stat().st_size for path in prefix.parent.iterdir())}
    if name not in NO_FACES:
        out, result = folder / f"out_{name}", folder / f"{name}.json"
        cli(folder, "run", "--file_path", VAL, "--model_prefix_path", prefix, "--save_dir", out)
        cli(folder, "eval", "-p", out, "-g", VAL / "ground_truth", "--json", result)
        values = json.loads(result.read_text())
        row["ap"] = [100 * values[level] for level in ("easy", "medium", "hard")]
    model, tensor = Model.open(prefix, threads=1), random_tensor(SIZE)
    runners = {"facedeploy": lambda: model.infer(tensor)}
    for peer in peers:
        try:
            runners[peer.name] = make_runner(peer, tensor, 1)
        except Exception as error:
            print(f"{name}: {peer.name} is left out, it refuses: {error}", file=sys.stderr)
    return row | interleaved(runners, rounds=rounds, runs=3)


def config_of(name: str, dtype: str) -> Path:
    """The config of int8 has how to calibrate; other precisions are those of fp32 but for the word."""
    return REPOSITORY / f"build_in/build/{name}_{'int8' if dtype == 'int8' else 'fp32'}.yaml"


def frontend(folder: Path, name: str) -> list[str]:
    """Overrides of the config that name the checkpoint; it is exported first where that is a PyTorch one."""
    checkpoint, *params = DETECTORS[name]
    if checkpoint.suffix == ".pth":
        cli(folder, "export", "--model_name", name, "--weight_path", checkpoint, "--size", SIZE)
        return []
    files = zip(("checkpoint", "params"), (checkpoint, *params), strict=False)
    return [word for key, file in files for word in ("--set", f"frontend.{key}={file}")]


def onnx_of(folder: Path, name: str, options: list[str]) -> Path:
    """What the peers run."""
    import onnx

    from facedeploy.compiler.frontend.checkpoint import read_checkpoint
    from facedeploy.config.load import load_build_config

    config = load_build_config(config_of(name, "fp32"), options[1::2]).frontend
    path = folder / f"{name}.onnx"
    onnx.save(read_checkpoint(folder / config.checkpoint, config), path)
    return path


def print_table(rows: list[dict], dtype: str) -> None:
    peers = list(dict.fromkeys(peer for row in rows for peer in row["ms"] if peer != "facedeploy"))
    head = [
        f"net, {SIZE}, {dtype}",
        "AP easy / medium / hard",
        "ms",
        *(f"{peer} ms (ratio)" for peer in peers),
        "bytes",
    ]
    print(f"| {' | '.join(head)} |")
    print("|" + " --- |" * len(head))
    for row in rows:
        ap = " / ".join(f"{value:.2f}" for value in row.get("ap", ()))
        times = [f"{row['ms'][peer]:.1f} ({row['ratio'][peer]:.2f})" if peer in row["ms"] else "-" for peer in peers]
        print(f"| {row['net']} | {ap} | {row['ms']['facedeploy']:.1f} | {' | '.join(times)} | {row['bytes']:,} |")


if __name__ == "__main__":
    raise SystemExit(main())
