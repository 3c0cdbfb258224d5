"""`facedeploy perf` and `vamp`."""

import argparse
import json
import re
from pathlib import Path

from facedeploy.cli.options import add_device, add_thresholds, positive

DESCRIPTION = """Throughput and latency of an artifact on random images; with --datalist, npz files in and out.

  vamp -m deploy_weights/official_retinaface_fp32/mod --vdsp_params J.json -i 2 -p 2 -b 1
  vamp -m deploy_weights/official_retinaface_fp32/mod --vdsp_params J.json --datalist L.txt --path_output OUT"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("-m", "--model", "--model_prefix_path", dest="model", required=True, type=Path, help="the artifact: .../mod")
    add("--vdsp_params", help="vdsp JSON (default: what the artifact was built for)")
    add("-i", "--instances", type=positive, default=1, help="instances a process (default %(default)s)")
    add("-p", "--processes", type=positive, default=1, help="processes (default %(default)s)")
    add("-b", "--batch", type=positive, help="images a call; the artifact must hold that batch")
    add_device(parser, "-d")
    add("-s", "--shape", type=image_shape, metavar="[3,H,W]", help="size of the random images (default: the canvas)")
    add("--iterations", type=positive, default=100, help="batches an instance (default %(default)s)")
    add("--threads", type=positive, help="threads of one instance (default: the CPUs shared out)")
    add("--json", type=Path, metavar="FILE", help="write the figures there too")
    add("--datalist", type=Path, help="run these npz files (one path a line) instead of random images")
    add("--path_output", type=Path, help="with --datalist: where the output npz files go")
    add_thresholds(parser)
    add("stray", nargs="*", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Measure, or run the list."""
    from facedeploy.cli.run import load_vdsp
    from facedeploy.core.errors import ConfigError

    if arguments.stray:
        raise ConfigError(_stray_message(arguments.stray))
    if (arguments.datalist is None) != (arguments.path_output is None):
        raise ConfigError("--datalist and --path_output go together: which npz files, and where their outputs go")
    params = load_vdsp(arguments.vdsp_params)
    if arguments.datalist is not None:
        return _run_datalist(arguments, params)

    from facedeploy.artifact.store import open_artifact
    from facedeploy.cli.run import check_batch
    from facedeploy.core.files import write_text
    from facedeploy.perf.measure import measure, table

    check_batch(arguments.batch, open_artifact(arguments.model).manifest.batch, arguments.model)
    report = measure(
        arguments.model,
        params,
        source_hw=arguments.shape,
        processes=arguments.processes,
        instances=arguments.instances,
        iterations=arguments.iterations,
        threads=arguments.threads,
        device=arguments.device,
    )
    print("\n".join(table(report)))
    if arguments.json:
        write_text(arguments.json, json.dumps(report.to_json(), indent=1) + "\n")
    return 0


def _run_datalist(arguments: argparse.Namespace, params: object) -> int:
    from tqdm import tqdm

    from facedeploy.cli.failures import report_failures
    from facedeploy.cli.run import check_batch
    from facedeploy.config.vdsp_params import VdspParams
    from facedeploy.npz.datalist import read_datalist
    from facedeploy.npz.stream import stream_npz
    from facedeploy.runtime.face_detector import FaceDetector

    entries = read_datalist(arguments.datalist)
    detector = FaceDetector.from_artifact(
        arguments.model,
        params if isinstance(params, VdspParams) else None,
        confidence_threshold=arguments.confidence_threshold,
        nms_threshold=arguments.nms_threshold,
        max_detections=arguments.max_detections,
        instances=arguments.instances,
        threads=arguments.threads,
        device=arguments.device,
    )
    check_batch(arguments.batch, detector.batch, arguments.model)
    if detector.note:
        print(detector.note)
    done = stream_npz(detector, entries, arguments.path_output)
    failures = [str(work.error) for work in tqdm(done, total=len(entries), unit="npz", disable=None) if work.error]
    print(f"{len(entries) - len(failures)} output npz files written to {arguments.path_output}")
    return report_failures(failures, len(entries))


def image_shape(text: str) -> tuple[int, int]:
    """`[3,H,W]` -> (H, W)."""
    match = re.fullmatch(r"\[?\s*3\s*,\s*([1-9][0-9]{0,4})\s*,\s*([1-9][0-9]{0,4})\s*\]?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected [3,H,W], such as [3,480,640]")
    return int(match.group(1)), int(match.group(2))


def _stray_message(stray: list[str]) -> str:
    words = " ".join(stray)
    if stray[0] in ("i", "p", "b", "d", "s", "m"):
        return f"got {words!r}, which belongs to no option: did you mean -{words}?"
    return f"got {words!r}, which belongs to no option; --help lists the options"
