"""One picture of a video."""

from typing import NamedTuple

from facedeploy.image.operations import Pixels


class Frame(NamedTuple):
    """`number` counts from 0 what the input has; `pixels` (h, w, 3) u8 BGR are nobody else's."""

    number: int
    pixels: Pixels
