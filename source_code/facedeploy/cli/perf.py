"""`facedeploy perf` and `vamp`."""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facedeploy.cli.options import (
    add_device,
    add_thresholds,
    check_batch,
    load_vdsp,
    open_detector,
    positive,
    workers,
)

DESCRIPTION = """Throughput and latency of an artifact on random images; with --datalist, npz files in and out.

  vamp -m deploy_weights/official_retinaface_fp32/mod --vdsp_params J.json -i 2 -p 2 -b 1
  vamp -m deploy_weights/official_retinaface_fp32/mod --vdsp_params J.json --datalist L.txt --path_output OUT"""

LONGEST_SIDE = 1 << 14  # px of a random image.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("-m", "--model", "--model_prefix_path", dest="model", required=True, type=Path, help="the artifact: .../mod")
    add("--vdsp_params", help="vdsp JSON (default: what the artifact was built for)")
    add("-i", "--instances", type=workers, default=1, help="instances a process (default %(default)s)")
    add("-p", "--processes", type=workers, default=1, help="processes (default %(default)s)")
    add("-b", "--batch", type=positive, help="images a call; the artifact must hold that batch")
    add_device(parser, "-d")
    add("-s", "--shape", type=image_shape, metavar="[3,H,W]", help="size of the random images (default: the canvas)")
    add("--iterations", type=positive, default=100, help="batches an instance (default %(default)s)")
    add("--threads", type=workers, help="threads of one instance (default: the CPUs shared out)")
    add("--json", type=Path, metavar="FILE", help="write the figures there too")
    add("--datalist", type=Path, help="run these npz files (one path a line) instead of random images")
    add("--path_output", type=Path, help="with --datalist: where the output npz files go")
    add_thresholds(parser)
    add("stray", nargs="*", action=_Stray, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Measure, or run the list."""
    from facedeploy.core.errors import ConfigError

    if (arguments.datalist is None) != (arguments.path_output is None):
        raise ConfigError("--datalist and --path_output go together: which npz files, and where their outputs go")
    if arguments.datalist and arguments.json:
        raise ConfigError("--json writes the figures of a measurement, and --datalist measures nothing: leave one out")
    return _run_datalist(arguments) if arguments.datalist else _measure(arguments)


def _measure(arguments: argparse.Namespace) -> int:
    from facedeploy.artifact.store import open_artifact
    from facedeploy.core.files import write_text
    from facedeploy.perf.measure import measure

    check_batch(arguments.batch, open_artifact(arguments.model).manifest.batch, arguments.model)
    report = measure(
        arguments.model,
        load_vdsp(arguments.vdsp_params),
        confidence_threshold=arguments.confidence_threshold,
        nms_threshold=arguments.nms_threshold,
        max_detections=arguments.max_detections,
        source_hw=arguments.shape,
        processes=arguments.processes,
        instances=arguments.instances,
        iterations=arguments.iterations,
        threads=arguments.threads,
        device=arguments.device,
    )
    if report.note:
        print(report.note)
    print("\n".join(report.lines()))
    if arguments.json:
        write_text(arguments.json, json.dumps(report.to_json(), indent=1) + "\n")
    return 0


def _run_datalist(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from facedeploy.cli.failures import report_failures
    from facedeploy.npz.datalist import read_datalist
    from facedeploy.npz.stream import stream_npz

    if arguments.processes > 1 or arguments.shape:
        print("with --datalist each file runs once, at its own size, in one process: -p, -s, --iterations do nothing")
    entries = read_datalist(arguments.datalist)
    detector = open_detector(arguments, arguments.model, arguments.vdsp_params)
    done = stream_npz(detector, entries, arguments.path_output)
    failures = [str(work.error) for work in tqdm(done, total=len(entries), unit="npz", disable=None) if work.error]
    print(f"{len(entries) - len(failures)} output npz files written to {arguments.path_output}")
    return report_failures(failures, len(entries))


def image_shape(text: str) -> tuple[int, int]:
    """`[3,H,W]` -> (H, W)."""
    match = re.fullmatch(r"\[?\s*3\s*,\s*([1-9][0-9]{0,4})\s*,\s*([1-9][0-9]{0,4})\s*\]?", text)
    if not match or max(map(int, match.groups())) > LONGEST_SIDE:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected [3,H,W], such as [3,480,640], with sides of at most {LONGEST_SIDE} px"
        )
    return int(match.group(1)), int(match.group(2))


class _Stray(argparse.Action):
    """What belongs to no option: the reference's own documents say `-i 2 p 2`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if not values:
            return
        words = " ".join(values)
        advice = "--help lists the options"
        if f"-{values[0]}" in parser._option_string_actions:
            advice = f"did you mean -{words}?"
        parser.error(f"got {words!r}, which belongs to no option: {advice}")
