"""The compiled letterbox of an artifact, and which of its canvases an image is laid on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np

from facedeploy.config.vdsp_params import VdspParams
from facedeploy.core.letterbox import Letterbox, scaled
from facedeploy.core.normalization import ColorOrder
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.image.operations import Pixels, check_pixels
from facedeploy.image.vdsp import fits, letterbox, to_canvas
from facedeploy.runtime.results import Pool

MOST_BYTES = 2**31 - 1  # That the compiled function counts.
SIZES = 256  # Of images, whose place on the canvas is remembered.


@dataclass(frozen=True)
class CanvasMaker:
    """`image.vdsp.to_canvas`, by the artifact's own function where it has one: equal to the bit, and faster.

    Canvases that nobody refers to any more are used again: fresh memory would cost a third of the function's time.
    """

    params: VdspParams
    function: Any | None = None
    _letterbox: Any = field(init=False, repr=False, compare=False)
    _canvases: Pool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_letterbox", lru_cache(SIZES)(partial(letterbox, self.params)))
        shape = (*self.params.canvas_hw, 3)
        object.__setattr__(self, "_canvases", Pool([TensorSpec("canvas", shape, "uint8")]))

    def __call__(self, image: Pixels, order: ColorOrder) -> tuple[Pixels, Letterbox]:
        """(h, w, 3) u8 in `order` -> the canvas, (H, W, 3) u8 in the model's color order, and where the image lies.

        Raises ImageError when the image is not (h, w, 3) u8.
        """
        check_pixels(image)
        box: Letterbox = self._letterbox((image.shape[0], image.shape[1]))
        resized = box.content_hw != box.source_hw  # Else it is a copy, and numpy's is faster.
        if self.function is None or self.params.resize_type != "BILINEAR_CV" or not resized or image.size > MOST_BYTES:
            return to_canvas(image, self.params, order)
        (canvas,), (tensor,) = self._canvases.take()
        # numpy lends tvm no read-only array. That most need no copy, flags tell in a tenth of the time.
        readable = image if image.flags.carray else np.require(image, requirements=["C", "W"])
        left, top = box.offset_xy
        swap = order != self.params.color_order
        self.function(readable, tensor, *box.content_hw, top, left, int(swap), *self.params.fill)
        return canvas, box


def nearest(makers: Sequence[CanvasMaker], image: Pixels) -> CanvasMaker:
    """Of those on whose canvas the image is largest, the one with the least padding.

    With a `scale`, which all of them have then, the smallest canvas that has room. What is no image, or has room on
    none, gets any, the largest: the maker says so.
    """
    if len(makers) == 1 or getattr(image, "ndim", 0) != 3:
        return makers[0]
    height, width = image.shape[:2]

    def suits(maker: CanvasMaker) -> tuple[int, int]:
        canvas_h, canvas_w = maker.params.canvas_hw
        scale = maker.params.geometry.scale
        if scale is not None:
            has_room = fits(scaled((height, width), scale), maker.params.canvas_hw)
            return has_room, canvas_h * canvas_w * (-1 if has_room else 1)
        return min(canvas_h * width, canvas_w * height), -canvas_h * canvas_w

    return max(makers, key=suits)
