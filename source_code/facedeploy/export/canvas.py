"""The canvas a net is exported for: (height, width) in px, and how it is written."""

import re

from facedeploy.core.errors import ConfigError

MIN_SIDE = 32  # RetinaFace's coarsest stride: less is not one whole cell.
MAX_SIDE = 4096


def parse_canvas(text: str) -> tuple[int, int]:
    """`640` is a square, `896x1280` is height x width, px. Raises ConfigError for anything else."""
    match = re.fullmatch(r"([0-9]{1,9})(?:x([0-9]{1,9}))?", text)
    if not match:
        raise ConfigError(f"size {text!r}: expected a side such as 640, or height x width such as 896x1280, in px")
    height = int(match[1])
    return check_canvas((height, int(match[2]) if match[2] else height))


def check_canvas(size_hw: tuple[int, int]) -> tuple[int, int]:
    """`size_hw` itself. Raises ConfigError when a side is out of range."""
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in size_hw):
        height, width = size_hw
        raise ConfigError(f"size {height}x{width}: each side must be {MIN_SIDE}..{MAX_SIDE} px")
    return size_hw


def canvas_name(size_hw: tuple[int, int]) -> str:
    """How the canvas is named in file names: `640`, or `896x1280` when it is not square."""
    height, width = size_hw
    return str(height) if height == width else f"{height}x{width}"
