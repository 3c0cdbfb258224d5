"""Options that several verbs share, and how the text of one becomes a value."""

import argparse
import re


def positive(text: str) -> int:
    """A whole number from 1."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from 1")
    return int(text)


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number from 0 to 1")
    return value


def add_device(parser: argparse.ArgumentParser, *names: str) -> None:
    """`--device`, `--device_id` and whatever short name."""
    parser.add_argument(
        *names, "--device", "--device_id", dest="device", type=int, default=0, help="0 is the host CPU (default)"
    )


def add_thresholds(parser: argparse.ArgumentParser) -> None:
    """Arguments of the compiled post-processing."""
    what = "(default: what the artifact was compiled with)"
    parser.add_argument("--confidence_threshold", type=fraction, help=f"keep scores above it {what}")
    parser.add_argument("--nms_threshold", type=fraction, help=f"suppress overlaps (IoU) above it {what}")
    parser.add_argument("--max_detections", type=positive, help=f"faces an image at most {what}")
