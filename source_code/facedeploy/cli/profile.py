"""`facedeploy profile`."""

import argparse
import json
from pathlib import Path

from facedeploy.cli.options import positive, workers

DESCRIPTION = """Where the time of one inference goes: a line for each kernel, the slowest first.

  facedeploy profile deploy_weights/official_retinaface_fp32/mod --explain
  facedeploy profile deploy_weights/official_retinaface_fp32/mod --onnx MODEL.onnx --versus onnxruntime,openvino"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("prefix", metavar="PREFIX", type=Path, help="the artifact: .../mod")
    add("--onnx", type=Path, metavar="MODEL.onnx", help="the file that the artifact was compiled from, for --versus")
    add("--versus", default="", metavar="PEERS", help="onnxruntime, openvino, or both with a comma: their times beside")
    add("--runs", type=positive, default=100, help="runs of each (default %(default)s)")
    add("--threads", type=workers, help="threads of all that is compared (default: as run and perf)")
    add("--explain", action="store_true", help="print all layers of each kernel, and why its tiles are as they are")
    add("--json", type=Path, metavar="FILE", help="write all figures there")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    from facedeploy.analysis.profile import profile
    from facedeploy.core.files import write_text

    report = profile(
        arguments.prefix,
        runs=arguments.runs,
        threads=arguments.threads,
        onnx=arguments.onnx,
        versus=list(dict.fromkeys(filter(None, arguments.versus.split(",")))),
    )
    print("\n".join(report.lines(arguments.explain)))
    if arguments.json:
        write_text(arguments.json, json.dumps(report.to_json(), indent=1) + "\n")
    return 0
