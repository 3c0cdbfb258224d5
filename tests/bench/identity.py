"""Are detections the same, bit for bit, whatever runs side by side? Run by hand:

    python tests/bench/identity.py --every 5 --json FILE

Compiles mobilenet0.25 for batches of 1, 2 and 4, and puts every so-manyth image of FACEDEPLOY_DATA's wider_val_dev
through `facedeploy run`, through npz files (image2npz, vamp, npz-decode) and through the Python API, with 1 to 4
instances, in 1 and 2 processes. Prediction files, output npz files and landmarks must be those of one instance of batch
1, to the byte. `vamp --datalist` has one process whatever -p says, and `facedeploy run` no such option: two processes
are two commands at the same time. Prints a line a path and batch; the exit code is 1 when anything differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from itertools import product
from pathlib import Path

import cv2
from bench_retinaface import CALIBRATION, CHECKPOINT, REPOSITORY, VAL, cli, cpu_name, versions

from facedeploy.core.detections import Detections
from facedeploy.image.dataset import list_images
from facedeploy.npz.files import read_slots_npz
from facedeploy.runtime.detector import build_detector
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.runtime.operator import Work
from facedeploy.widerface.prediction_files import write_predictions

os.environ.setdefault("TVM_BIND_THREADS", "0")
BATCHES, INSTANCES, PROCESSES = (1, 2, 4), (1, 2, 3, 4), (1, 2)
DECODERS = (1, 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--dtype", choices=("fp32", "fp16", "bf16", "int8"), default="fp32")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not CHECKPOINT.is_file():
        print(f"no checkpoint at {CHECKPOINT}: set FACEDEPLOY_DATA")
        return 2
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = sorted((VAL / "images").rglob("*.jpg"))[:: arguments.every]
        (folder / "images.lst").write_text("".join(f"{path}\n" for path in images))
        prefixes = compile_batches(folder, arguments)
        save_dir = folder / "expected"
        run(folder, prefixes[1], save_dir, "--threads", 1)
        expected = tree(save_dir)
        rows = []
        for batch, prefix in prefixes.items():
            rows += [stream(folder, batch, prefix, expected), npz(folder, batch, prefix, expected, arguments.size)]
            rows += [python(folder, batch, prefix, prefixes[1], expected)]
            for row in rows[-3:]:
                print(
                    "{path:<10} batch {batch}: {runs:>3} runs, {files:>5} files, {differing} differ".format(**row),
                    flush=True,
                )
    differing = sum(row["differing"] for row in rows)
    faces = sum(int(text.split(b"\n", 2)[1]) for text in expected.values())
    print(
        f"{len(expected)} images, {faces} faces, {sum(row['runs'] for row in rows)} runs, {differing} files differ; "
        f"{time.monotonic() - started:.0f} s"
    )
    if arguments.json:
        report = {"cpu": cpu_name(), "date": date.today().isoformat(), "versions": versions(), "dtype": arguments.dtype}
        report |= {"size": arguments.size, "images": len(expected), "faces": faces, "rows": rows}
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    return int(differing > 0)


def compile_batches(folder: Path, arguments: argparse.Namespace) -> dict[int, Path]:
    size = arguments.size
    config = REPOSITORY / f"build_in/build/mobilenet0.25_{arguments.dtype}.yaml"
    prefixes = {}
    for batch in BATCHES:
        words = ["--weight_path", CHECKPOINT, "--size", size, "--batch", batch, "--output_dir", folder / f"onnx{batch}"]
        cli(folder, "export", *words)
        onnx = folder / f"onnx{batch}/mobilenet0.25_{size}.onnx"
        overrides = [f"frontend.checkpoint={onnx}", f"frontend.shape.input=[{batch},3,{size},{size}]", f"name=b{batch}"]
        overrides += [f"dataset.process_ops.2.size=[{size},-1]"]
        if arguments.dtype == "int8":
            overrides += [f"dataset.path={CALIBRATION}"]
        cli(folder, "compile", config, *(word for override in overrides for word in ("--set", override)))
        prefixes[batch] = folder / f"deploy_weights/b{batch}/mod"
    return prefixes


def run_words(folder: Path, prefix: Path, save_dir: Path, *options: object) -> list[object]:
    return [
        "run",
        "--file_path",
        folder / "images.lst",
        "--model_prefix_path",
        prefix,
        "--save_dir",
        save_dir,
        *options,
    ]


def run(folder: Path, prefix: Path, save_dir: Path, *options: object) -> None:
    cli(folder, *run_words(folder, prefix, save_dir, *options))


def stream(folder: Path, batch: int, prefix: Path, expected: dict[str, bytes]) -> dict:
    """`facedeploy run`, and two of it at a time."""
    results = []
    for instances, decoders in product(INSTANCES, DECODERS):
        save_dir = folder / f"run_{batch}_{instances}_{decoders}"
        run(folder, prefix, save_dir, "--instances", instances, "--decoders", decoders, "--batch", batch)
        results.append(tree(save_dir))
    pair = [folder / f"run_{batch}_process{number}" for number in range(2)]
    commands = [
        [sys.executable, "-m", "facedeploy.cli.main", *run_words(folder, prefix, save_dir, "--instances", 2)]
        for save_dir in pair
    ]
    processes = [subprocess.Popen(list(map(str, words)), cwd=folder, stdout=subprocess.DEVNULL) for words in commands]
    codes = [process.wait() for process in processes]
    if any(codes):
        raise SystemExit("one of two processes failed")
    results += map(tree, pair)
    return row("run", batch, results, expected)


def npz(folder: Path, batch: int, prefix: Path, expected: dict[str, bytes], size: int) -> dict:
    """image2npz, vamp, npz-decode."""
    datalist = folder / "npz.txt"
    if not datalist.exists():
        words = "--dataset_path", folder / "images.lst", "--target_path", folder / "npz", "--text_path", datalist
        cli(folder, "image2npz", *words)
    results = []
    for instances, processes in product(INSTANCES, PROCESSES):
        name = f"{batch}_{instances}_{processes}"
        out, txt = folder / f"out_{name}", folder / f"txt_{name}"
        words = ["-m", prefix, "-i", instances, "-p", processes, "-b", batch]
        cli(folder, "perf", *words, "--datalist", datalist, "--path_output", out)
        words = ["--txt", txt, "--input_image_dir", folder / "images.lst", "--model_size", size, size]
        cli(folder, "npz-decode", *words, "--vamp_datalist_path", datalist, "--vamp_output_dir", out)
        results.append(tree(txt) | slots(out))
    first = slots(folder / f"out_{BATCHES[0]}_{INSTANCES[0]}_{PROCESSES[0]}")
    return row("npz", batch, results, expected | first)


def slots(folder: Path) -> dict[str, bytes]:
    """What the npz files hold: the files have the time of their writing."""
    return {
        str(path.relative_to(folder)): b"".join(part.tobytes() for part in read_slots_npz(path))
        for path in folder.rglob("*.npz")
    }


def python(folder: Path, batch: int, prefix: Path, first: Path, expected: dict[str, bytes]) -> dict:
    """FaceDetector's two streams and what `build_detector` gives, landmarks too."""
    files = list_images(folder / "images.lst")
    single = FaceDetector.from_artifact(first, threads=1)
    landmarks = {f"{each.name}.landmarks": single.detect(each.path).landmarks.tobytes() for each in files}

    def written(found: dict[str, Detections]) -> dict[str, bytes]:
        save_dir = folder / "python"
        for name, detections in found.items():
            write_predictions(save_dir / f"{name}.txt", name, detections)
        return tree(save_dir) | {f"{name}.landmarks": each.landmarks.tobytes() for name, each in found.items()}

    results = []
    for instances in INSTANCES:
        detector = FaceDetector.from_artifact(prefix, instances=instances, decoders=2)
        for how in (detector.run_async, detector.run_sync):
            works = how(Work(each.name, each.path) for each in files)
            results.append(written({work.name: work.detections for work in works}))
    plain = build_detector(prefix, single.nms.confidence_threshold, single.nms.nms_threshold)
    images = [cv2.imread(str(each.path))[:, :, ::-1] for each in files]
    rows, points = plain.batched_detect_with_landmarks(images)
    for found in (rows, [plain.detect(image) for image in images]):
        named = zip(files, found, points, strict=True)
        results.append(written({each.name: Detections(faces[:, :4], faces[:, 4], p) for each, faces, p in named}))
    return row("Python", batch, results, expected | landmarks)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.txt")}


def row(path: str, batch: int, results: list[dict[str, bytes]], expected: dict[str, bytes]) -> dict:
    differing = [name for found in results for name in {*found, *expected} if found.get(name) != expected.get(name)]
    return {
        "path": path, "batch": batch, "runs": len(results), "files": sum(map(len, results)),
        "differing": len(differing), "such_as": sorted(set(differing))[:5],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
