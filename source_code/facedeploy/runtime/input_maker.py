"""Images as a model reads them: laid on the canvases of a batch, normalized, in its first layer's layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.artifact.manifest import LETTERBOX, Rung
from facedeploy.config.vdsp_params import VdspParams
from facedeploy.core.letterbox import Letterbox, scaled
from facedeploy.core.normalization import ColorOrder, Normalization
from facedeploy.image import operations
from facedeploy.image.operations import Pixels
from facedeploy.image.vdsp import fits, letterbox, to_canvas
from facedeploy.runtime.results import Pool

MOST_BYTES = 2**31 - 1  # Of an image, that the compiled function counts.
MOST_BATCHES = 256  # That are kept: what a stream has under way is fewer on any machine.
SIZES = 256  # Of images, whose place on the canvas is remembered.


@dataclass(frozen=True, eq=False)
class Batch:
    """What one call reads. `array` is a float input (N, 3, H, W), or the integers that this becomes."""

    rung: Rung
    array: npt.NDArray[Any]
    tensor: Any  # The array, as functions take it.


class BatchLayout:
    """How u8 pixels become what a model reads: its integers where the artifact has those of this normalization, else
    floats. Batches that nobody refers to any more are used again: fresh memory would cost a third of the time.
    """

    def __init__(self, library: Any, rung: Rung, built_for: Normalization | None, wanted: Normalization) -> None:
        """`wanted` is what is done to the pixels, `built_for` what the artifact's integers stand for."""
        self.rung, self._normalization = rung, wanted
        integers = rung.integers if wanted == built_for else None
        if integers and not library.implements_function(integers.letterbox, True):
            integers = None
        name = integers.letterbox if integers else LETTERBOX
        self.function = library.get_function(name, True) if library.implements_function(name, True) else None
        floats = () if integers else (wanted.scale, *wanted.mean, *wanted.std)
        self._numbers = tuple(map(float, floats))
        self._batches = Pool([integers.tensor if integers else rung.input], most=MOST_BATCHES)

    def new_batch(self) -> Batch:
        """One that nobody else refers to; its content is anything."""
        (array,), (tensor,) = self._batches.take()
        return Batch(self.rung, array, tensor)

    def lay(
        self, image: Pixels, box: Letterbox, batch: Batch, position: int, *, swap: bool, fill: tuple[int, ...]
    ) -> None:
        """Resize an image, as OpenCV's INTER_LINEAR does, and put it where `box` says on a canvas of `fill`.

        There must be a compiled function.
        """
        assert self.function is not None
        # numpy lends tvm no read-only array. That most need no copy, flags tell in a tenth of the time.
        readable = image if image.flags.carray else np.require(image, requirements=["C", "W"])
        left, top = box.offset_xy
        where = position, *box.content_hw, top, left, int(swap)
        self.function(readable, batch.tensor, *where, *fill, *self._numbers)

    def put(self, canvas: Pixels, batch: Batch, position: int) -> None:
        """Put a canvas there, (H, W, 3) u8 in the model's color order."""
        if self.function is None:
            batch.array[position] = operations.normalize(canvas, self._normalization)
            return
        hw = self.rung.canvas_hw
        self.lay(canvas, Letterbox(hw, hw, hw, (0, 0)), batch, position, swap=False, fill=(0, 0, 0))


class InputMaker:
    """`image.vdsp.preprocess` into batches, by the artifact's own function where it has one: equal to the bit, and
    faster.
    """

    def __init__(self, params: VdspParams, layout: BatchLayout) -> None:
        self.params, self._layout = params, layout
        self._letterbox = lru_cache(SIZES)(partial(letterbox, params))
        self.new_batch = layout.new_batch
        self._resizes = layout.function is not None and params.resize_type == "BILINEAR_CV"

    @property
    def rung(self) -> Rung:
        """The shape of the batches."""
        return self._layout.rung

    def place(self, source_hw: tuple[int, int]) -> Letterbox:
        """Where an image of that size lies on the canvas. Raises ImageError where there is no room for it."""
        box: Letterbox = self._letterbox(source_hw)
        return box

    def lay(self, image: Pixels, order: ColorOrder, box: Letterbox, batch: Batch, position: int) -> None:
        """Make (h, w, 3) u8 in `order` that image of the batch; `box` is its place."""
        if self._resizes and image.size <= MOST_BYTES:
            swap = order != self.params.color_order
            self._layout.lay(image, box, batch, position, swap=swap, fill=self.params.fill)
        else:
            self._layout.put(to_canvas(image, self.params, order)[0], batch, position)


def nearest(canvases: Sequence[VdspParams], source_hw: tuple[int, int]) -> VdspParams:
    """Of the canvases that show an image of that size, (height, width) px, largest: the one with the least padding.

    With a `scale`, which all of them have then, the smallest canvas that has room; where none has, the largest.
    """
    if len(canvases) == 1:
        return canvases[0]
    height, width = source_hw

    def suits(params: VdspParams) -> tuple[int, int]:
        canvas_h, canvas_w = params.canvas_hw
        scale = params.geometry.scale
        if scale is not None:
            has_room = fits(scaled(source_hw, scale), params.canvas_hw)
            return has_room, canvas_h * canvas_w * (-1 if has_room else 1)
        return min(canvas_h * width, canvas_w * height), -canvas_h * canvas_w

    return max(canvases, key=suits)
