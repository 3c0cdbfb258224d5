"""`facedeploy latency`."""

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from facedeploy.cli.options import positive, workers

if TYPE_CHECKING:
    from facedeploy.config.build_config import BuildConfig

DESCRIPTION = """Latency of detectors at many sizes, beside what others have published for theirs.

  facedeploy latency --config build_in/build/mobilenet0.25_fp32.yaml --threads 1
  facedeploy latency --config a.yaml b.yaml --dtype fp32 int8 --sizes 640x480 1920x1080 --plot latency.png

Each config is compiled for a canvas of exactly each size. Sizes are WIDTHxHEIGHT here, as displays and the published
tables have them (elsewhere, as in --canvas, facedeploy writes height x width). What is compiled stays in
<workspace.path>/.latency/ for the next time."""

SIZES = ((160, 140), (320, 240), (640, 480), (1280, 720), (1920, 1080), (3840, 2160))
LONGEST_SIDE = 8192  # px.
DTYPES = ("fp32", "fp16", "bf16", "int8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--config", required=True, nargs="+", metavar="YAML", help="build configs of yours, or names of shipped ones")
    add(
        "--sizes",
        nargs="+",
        type=size,
        default=SIZES,
        metavar="WIDTHxHEIGHT",
        help=f"px (default: {' '.join(f'{width}x{height}' for width, height in SIZES)})",
    )
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
    """Compile, measure, print."""
    from facedeploy.analysis.latency import FEWEST_ITERATIONS, latency_table
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
            tuple(dict.fromkeys(arguments.sizes)),
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
    return 0


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


def size(text: str) -> tuple[int, int]:
    """`640x480` -> (640, 480), width and height."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if not match or max(map(int, match.groups())) > LONGEST_SIDE:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected WIDTHxHEIGHT in px, such as 640x480, with sides of at most {LONGEST_SIDE}"
        )
    return int(match[1]), int(match[2])
