"""`facedeploy compare`."""

import argparse
import json
from pathlib import Path

from facedeploy.cli.options import positive

DESCRIPTION = """How far an artifact's tensors are from the float model's, the worst layer first; and its faces.

  facedeploy compare deploy_weights/mobilenet0.25_int8/mod --onnx export_model/mobilenet0.25_640.onnx --images DIR"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("prefix", metavar="PREFIX", type=Path, help="the artifact: .../mod")
    add("--onnx", required=True, type=Path, metavar="MODEL.onnx", help="the float file that it was compiled from")
    add("--images", required=True, type=Path, metavar="DIR", help="an image, a folder, or a list")
    add("--count", type=positive, default=32, help="how many of them, spread evenly (default %(default)s)")
    add("--confidence", type=float, default=0.5, help="of the float model's faces, at least (default %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write all figures there")


def run(arguments: argparse.Namespace) -> int:
    """Run both, and print."""
    from facedeploy.analysis.compare import compare
    from facedeploy.cli.image_bar import image_bar
    from facedeploy.core.files import write_text

    with image_bar("compare") as (_, advance):
        report = compare(
            arguments.prefix,
            arguments.onnx,
            arguments.images,
            count=arguments.count,
            confidence=arguments.confidence,
            on_image=advance,
        )
    print("\n".join(report.lines()))
    if arguments.json:
        write_text(arguments.json, json.dumps(report.to_json(), indent=1) + "\n")
    return 0
