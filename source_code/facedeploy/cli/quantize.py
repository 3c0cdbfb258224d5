"""`facedeploy quantize`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facedeploy.image.dataset import ImageFile

DESCRIPTION = """Calibrate the model of an int8 build YAML and write it as QDQ ONNX (QuantizeLinear, DequantizeLinear).

The images are those of dataset.path; the ranges found are kept in <workspace.path>/.ranges/ for the next time:
  facedeploy quantize build_in/build/mobilenet0.25_int8.yaml --set dataset.path=DIR"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("config", metavar="CONFIG.yaml", help="a build config of yours, or the name of a shipped one")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key, e.g. dataset.path=DIR")
    add(
        "--output",
        type=Path,
        metavar="FILE.onnx",
        help="where the model goes (default: <workspace.path>/<name>/<name>.qdq.onnx)",
    )
    add(
        "--evaluation",
        type=Path,
        metavar="LIST_OR_DIR",
        help="images that accuracy is measured on: refuse to calibrate with any of them",
    )


def run(arguments: argparse.Namespace) -> int:
    """Calibrate, write, and say what was written."""
    from facedeploy.cli.image_bar import image_bar
    from facedeploy.config.build_config import notes
    from facedeploy.config.load import load_build_config
    from facedeploy.config.shipped import find_config
    from facedeploy.core.errors import ConfigError
    from facedeploy.core.files import result_path

    found = find_config(arguments.config)
    if found.shipped:
        print(f"{arguments.config} is not under the current directory; using the shipped {found.path}")
    config = load_build_config(found.path, arguments.set)
    for line in notes(config):
        print(line)

    from facedeploy.compiler.quantize import quantize_model

    evaluation = _listed(arguments.evaluation) if arguments.evaluation else []
    with image_bar("calibrate") as (note, advance):
        quantized = quantize_model(config, evaluation=evaluation, note=note, on_image=advance)
    output: Path = arguments.output or Path(config.workspace.path) / config.name / f"{config.name}.qdq.onnx"
    if output.resolve() == quantized.source.resolve():
        raise ConfigError(f"--output: {output} is frontend.checkpoint, the float model: name another file")
    with result_path(output) as temporary:
        temporary.write_bytes(quantized.model.SerializeToString())
    in_float = f"; in float: {', '.join(quantized.in_float)}" if quantized.in_float else ""
    total = len(quantized.in_int8) + len(quantized.in_float)
    print(f"layers  {len(quantized.in_int8)} of {total} convolutions in int8{in_float}")
    print(f"wrote   {output} ({output.stat().st_size:,} bytes)")
    print(
        "facedeploy compile takes it as frontend.checkpoint; it runs in onnxruntime too (on a CPU without VNNI, "
        "disable graph optimizations for exact arithmetic)"
    )
    return 0


def _listed(path: Path) -> "list[ImageFile]":
    from facedeploy.core.errors import DataError
    from facedeploy.image.dataset import list_images

    try:
        return list_images(path)
    except DataError as error:
        raise DataError(f"--evaluation: {error}") from error
