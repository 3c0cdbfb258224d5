"""Options that several verbs share, and what becomes of them: values, or an opened detector."""

import argparse
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facedeploy.config.vdsp_params import VdspParams
    from facedeploy.runtime.face_detector import FaceDetector
    from facedeploy.runtime.ladder import Canvas

MOST_WORKERS = 256  # Threads, instances, processes: more is a slip of the keyboard.
LONGEST_SECONDS = 86400  # A day.
LONGEST_SIDE = 1 << 14  # px of a frame, or of a random image.
DRAW_THRESHOLD = 0.5
VGA = (640, 480)  # Width and height, px.


def positive(text: str) -> int:
    """A whole number from 1."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from 1")
    return int(text)


def workers(text: str) -> int:
    """How many of what runs side by side."""
    if positive(text) > MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from 1 to {MOST_WORKERS}")
    return int(text)


def seconds(text: str) -> float:
    """A duration."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected seconds, more than 0, at most {LONGEST_SECONDS}")
    return value


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number from 0 to 1")
    return value


def devices(text: str) -> int | tuple[int, ...]:
    """`0`, or `0,1` for several."""
    if not re.fullmatch(r"-?[0-9]{1,4}(,-?[0-9]{1,4})*", text):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected the number of a device, or several, such as 0,1")
    numbers = tuple(map(int, text.split(",")))
    return numbers if len(numbers) > 1 else numbers[0]


def add_device(parser: argparse.ArgumentParser, *names: str) -> None:
    """`--device`, `--device_id` and whatever short name."""
    parser.add_argument(
        *names,
        "--device",
        "--device_id",
        dest="device",
        type=devices,
        default=0,
        metavar="N[,N...]",
        help="0 is the host CPU (default), or the first of a machine's NUMA nodes; 0,1: on both, instances in turn",
    )


def canvas(text: str) -> "Canvas":
    """`nearest`, or a size."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if match:
        return int(match[1]), int(match[2])
    if text != "nearest":
        raise argparse.ArgumentTypeError(f"got {text!r}, expected nearest, or height x width in px, such as 480x640")
    return "nearest"


def add_shape(parser: argparse.ArgumentParser, *names: str) -> None:
    """`--canvas` and `--batch`, with a short name for the latter."""
    add = parser.add_argument
    add(
        "--canvas",
        type=canvas,
        metavar="HEIGHTxWIDTH",
        help="which of the artifact's canvases (default: the vdsp JSON's, else the first); nearest: for each image the "
        "smallest of those that show it largest",
    )
    add(*names, "--batch", type=positive, help="images a call; the artifact must hold that batch (default: its first)")


def scale(text: str) -> float:
    """How many times their size images are seen at."""
    from facedeploy.core.errors import ConfigError
    from facedeploy.core.letterbox import check_scale

    try:
        value = float(text)
        check_scale(value)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("scale: ")) from None
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number such as 0.4") from None
    return value


def size_wh(text: str) -> tuple[int, int]:
    """`640x480` -> (640, 480), width and height."""
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(1 <= side <= LONGEST_SIDE for side in (width, height)):
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected WIDTHxHEIGHT in px, such as 640x480, each from 1 to {LONGEST_SIDE}"
        )
    return width, height


def add_thresholds(parser: argparse.ArgumentParser) -> None:
    """Arguments of the compiled post-processing."""
    what = "(default: what the artifact was compiled with)"
    parser.add_argument("--confidence_threshold", type=fraction, help=f"keep scores above it {what}")
    parser.add_argument("--nms_threshold", type=fraction, help=f"suppress overlaps (IoU) above it {what}")
    parser.add_argument("--max_detections", type=positive, help=f"faces an image at most {what}")


def add_draw(parser: argparse.ArgumentParser) -> None:
    """`--draw` and its threshold."""
    add = parser.add_argument
    add("--draw", action="store_true", help="write pictures with boxes and landmarks beside the prediction files")
    add("--draw_threshold", type=fraction, help=f"draw faces scored this or more (default {DRAW_THRESHOLD})")


def draw_from(arguments: argparse.Namespace) -> float | None:
    """The score from which faces are drawn beside prediction files; None: no pictures. Raises ConfigError."""
    from facedeploy.core.errors import ConfigError

    if arguments.draw:
        return DRAW_THRESHOLD if arguments.draw_threshold is None else float(arguments.draw_threshold)
    if arguments.draw_threshold is not None:
        raise ConfigError("--draw_threshold needs --draw: without it no picture is written")
    return None


def load_vdsp(path: str | None) -> "VdspParams | None":
    """The vdsp JSON named on a command line, a shipped one if there is no such file."""
    if path is None:
        return None
    from facedeploy.config.shipped import find_config
    from facedeploy.config.vdsp_params import load_vdsp_params

    found = find_config(path)
    if found.shipped:
        print(f"{path} is not under the current directory; using the shipped {found.path}", file=sys.stderr)
    return load_vdsp_params(found.path)


def open_detector(
    arguments: argparse.Namespace,
    prefix: Path,
    vdsp: str | None,
    decoders: int | None = 1,
    scale: float | None = None,
) -> "FaceDetector":
    """The artifact with the vdsp JSON and what the other options say; prints the detector's note to stderr."""
    detector = opening(arguments, prefix, vdsp)(decoders=decoders, scale=scale)
    if detector.note:
        print(detector.note, file=sys.stderr)
    return detector


def opening(arguments: argparse.Namespace, prefix: Path, vdsp: str | None) -> "partial[FaceDetector]":
    """What opens the artifact with the vdsp JSON, which is read now, and what the other options say."""
    from facedeploy.runtime.face_detector import FaceDetector

    return partial(
        FaceDetector.from_artifact,
        prefix,
        load_vdsp(vdsp),
        confidence_threshold=arguments.confidence_threshold,
        nms_threshold=arguments.nms_threshold,
        max_detections=arguments.max_detections,
        canvas=arguments.canvas,
        batch=arguments.batch,
        instances=arguments.instances,
        threads=arguments.threads,
        device=arguments.device,
    )
