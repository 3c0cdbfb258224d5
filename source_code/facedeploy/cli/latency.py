"""`facedeploy latency`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from facedeploy.cli.options import VGA, positive, scale, size_wh, workers

if TYPE_CHECKING:
    from facedeploy.config.build_config import BuildConfig

DESCRIPTION = """Latency of detectors at many sizes, beside what others have published for theirs.

  facedeploy latency --config build_in/build/mobilenet0.25_fp32.yaml --threads 1
  facedeploy latency --config a.yaml b.yaml --dtype fp32 int8 --sizes 640x480 1920x1080 --plot latency.png

Each config is compiled for a canvas of exactly each size. Sizes are WIDTHxHEIGHT here, as displays and the published
tables have them (elsewhere, as in --canvas, facedeploy writes height x width). What is compiled stays in
<workspace.path>/.latency/ for the next time. With --scales each size is that of a camera's frames, and canvases are so
many times as large, as faster-mobile-retinaface has it:

  facedeploy latency --config build_in/build/faster_mobile_16and32_fp32.yaml --scales 0.1 0.4 1 2 --sizes 640x480

A size that a detector cannot have is "-" in the table and its reason stands at the end; the exit code is 1 then."""

SIZES = ((160, 140), (320, 240), VGA, (1280, 720), (1920, 1080), (3840, 2160))
DTYPES = ("fp32", "fp16", "bf16", "int8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--config", required=True, nargs="+", metavar="YAML", help="build configs of yours, or names of shipped ones")
    add(
        "--sizes",
        nargs="+",
        type=size_wh,
        metavar="WIDTHxHEIGHT",
        help=f"px (default: {' '.join(f'{width}x{height}' for width, height in SIZES)}; with --scales "
        f"{VGA[0]}x{VGA[1]})",
    )
    add("--scales", nargs="+", type=scale, metavar="S", help="canvases of so many times each size, from 0.1 to 2")
    add("--dtype", nargs="+", choices=DTYPES, help="precisions of each config (default: its own)")
    add("--threads", type=workers, help="threads of a call (default: all CPUs)")
    add(
        "--iterations", type=positive, default=50, metavar="N", help="calls measured, at least 20 (default %(default)s)"
    )
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of every config")
    add("--recompile", action="store_true", help="compile again what is there")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--plot", type=Path, metavar="FILE", help="draw the model calls (png, pdf, svg)")


def run(arguments: argparse.Namespace) -> int:
    """Compile, measure, print; the exit code is 1 when a detector cannot have some of the sizes."""
    from facedeploy.analysis.latency import FEWEST_ITERATIONS, latency_table
    from facedeploy.cli.failures import report_failures
    from facedeploy.cli.image_bar import image_bar
    from facedeploy.core.errors import ConfigError
    from facedeploy.core.files import write_text
    from facedeploy.image.figure import check_plot

    if arguments.iterations < FEWEST_ITERATIONS:
        raise ConfigError(f"--iterations: got {arguments.iterations}, a median takes {FEWEST_ITERATIONS} or more")
    if arguments.plot:
        check_plot(arguments.plot)
    configs = load_configs(arguments)
    with image_bar("calibrate") as (note, on_image):
        table = latency_table(
            configs,
            sizes_of(arguments),
            threads=arguments.threads,
            iterations=arguments.iterations,
            recompile=arguments.recompile,
            note=note,
            on_image=on_image,
        )
    print("\n".join(["", *table.lines()]))
    if arguments.json:
        write_text(arguments.json, json.dumps(table.to_json(), indent=1) + "\n")
    if arguments.plot:
        table.plot(arguments.plot)
    failures = [f"{title}: {reason}" for (_, title), reason in table.failures.items()]
    return report_failures(failures, len(table.cells) + len(failures))


def sizes_of(arguments: argparse.Namespace) -> tuple[tuple[int, int], ...]:
    """The canvases, width and height, px: the sizes, or each at all scales."""
    from facedeploy.core.letterbox import scaled

    if not arguments.scales:
        return tuple(dict.fromkeys(arguments.sizes or SIZES))
    return tuple(dict.fromkeys(scaled(each, by) for each in arguments.sizes or (VGA,) for by in arguments.scales))


def load_configs(arguments: argparse.Namespace) -> "dict[str, BuildConfig]":
    """Each config in each precision, by a title: its name, without a precision at the end, and the precision."""
    from facedeploy.config.load import load_build_config
    from facedeploy.config.shipped import find_config
    from facedeploy.core.errors import ConfigError

    configs: dict[str, BuildConfig] = {}
    for path in arguments.config:
        found = find_config(path).path
        own = load_build_config(found, arguments.set)
        for dtype in dict.fromkeys(arguments.dtype or [own.backend.dtype]):
            title = f"{own.name.removesuffix(f'_{own.backend.dtype}')} {dtype}"
            if title in configs:
                raise ConfigError(f"--config: {path} would be a second column {title}: give each config another name")
            configs[title] = load_build_config(found, [*arguments.set, f"backend.dtype={dtype}"])
    return configs
