"""`facedeploy compile` and `vamc compile`."""

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from facedeploy.cli.options import VGA, scale, size_wh

if TYPE_CHECKING:
    from facedeploy.analysis.precision_speed import PrecisionSpeed

DESCRIPTION = """Compile a build YAML into an artifact: <workspace.path>/<name>/mod.so, mod.params, mod.json.

Paths in the YAML are relative to the current directory. --set overrides a key, so that no file needs editing:
  facedeploy compile build_in/build/official_retinaface.yaml --set frontend.checkpoint=my.onnx --set name=my_model
  facedeploy compile build_in/build/faster_mobile_16and32_fp32.yaml --scales 0.1 0.4 1 2 --frame 640x480"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("config", metavar="CONFIG.yaml", help="a build config of yours, or the name of a shipped one")
    parser.add_argument(
        "--no-speed", action="store_true", help="int8: do not build fp32 as well to compare the speed of both"
    )
    parser.add_argument(
        "--scales",
        nargs="+",
        type=scale,
        metavar="S",
        help="add canvases for frames (--frame) at S times their size, 0.1 to 2: `facedeploy run --scale S` takes them",
    )
    parser.add_argument(
        "--frame",
        type=size_wh,
        metavar="WIDTHxHEIGHT",
        help=f"with --scales: size of the frames, px (default {VGA[0]}x{VGA[1]})",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a key, e.g. backend.dtype=fp32"
    )


def run(arguments: argparse.Namespace) -> int:
    """Compile, and say what was written."""
    from facedeploy.cli.image_bar import image_bar
    from facedeploy.config.build_config import notes
    from facedeploy.config.load import load_build_config
    from facedeploy.config.scales import with_scales
    from facedeploy.config.shipped import find_config
    from facedeploy.core.errors import ConfigError

    overrides: Sequence[str] = arguments.set
    found = find_config(arguments.config)
    if found.shipped:
        print(f"{arguments.config} is not under the current directory; using the shipped {found.path}")
    config = load_build_config(found.path, overrides)
    if arguments.frame and not arguments.scales:
        raise ConfigError("--frame needs --scales: at which scales of the frame canvases are wanted")
    if arguments.scales:
        config = with_scales(config, arguments.scales, arguments.frame or VGA)
    for line in notes(config):
        print(line)

    from facedeploy.artifact.store import MANIFEST

    started = time.monotonic()
    speed: PrecisionSpeed | None = None
    options = config.backend.quantize
    with image_bar("calibrate") as (note, on_image):
        if config.backend.dtype == "int8" and options is not None and options.max_drop is not None:
            from facedeploy.analysis.mixed_precision import compile_within

            mixed = compile_within(config, note, on_image)
            artifact, speed = mixed.artifact, mixed.speed
        else:
            from facedeploy.compiler.build import compile_model

            artifact = compile_model(config, note, on_image)
    manifest = artifact.manifest
    for rung in manifest.ladder:
        print(f"input   {rung.input}")
        for spec in rung.outputs:
            print(f"output  {spec}")
    if manifest.postprocess:
        head, nms = manifest.postprocess.head, manifest.postprocess.nms
        print(
            f"post    {head.type}: confidence {nms.confidence_threshold:g}, NMS {nms.nms_threshold:g}, "
            f"{nms.max_detections} slots"
        )
    print(f"target  {manifest.target.name}, {manifest.dtype}")
    print(f"compute {manifest.arithmetic}, {manifest.weights}")
    for name, entry in manifest.files.items():
        print(f"wrote   {artifact.prefix.with_name(name)} ({entry.size:,} bytes)")
    print(f"wrote   {artifact.prefix.with_name(MANIFEST)}")
    print(f"compiled {manifest.name} in {time.monotonic() - started:.1f} s; prefix: {artifact.prefix}")
    if manifest.dtype == "int8" and not arguments.no_speed and speed is None:
        from facedeploy.analysis.precision_speed import precision_speed

        speed = precision_speed(artifact, config)
    if speed:
        print(f"speed   {speed}")
    return 0
