"""Calibration's adapter: the list of operations in a build config's `dataset.process_ops`."""

from collections.abc import Sequence
from pathlib import Path

from facedeploy.config.process_ops import CenterCrop, CvtColor, Normalize, Pad, ProcessOp, Resize
from facedeploy.core.errors import ImageError
from facedeploy.core.letterbox import Letterbox
from facedeploy.core.normalization import ColorOrder, Normalization
from facedeploy.image import operations
from facedeploy.image.decode import read_image
from facedeploy.image.operations import Pixels, Tensor


def run_process_ops(source: str | Path | Pixels, ops: Sequence[ProcessOp]) -> Tensor:
    """An image file, or its pixels as `read_image` gives them (BGR), -> the model's input, (3, H, W) float32.

    `ops` are in the order that a build config guarantees: DecodeImage, pixels, Normalize, ToTensor. Raises ImageError
    when the image cannot be read, or is too large for a Pad or too small for a CenterCrop.
    """
    image = read_image(source) if isinstance(source, str | Path) else source
    operations.check_pixels(image)
    image = operations.swap_red_blue(image)  # DecodeImage yields RGB.
    for op in ops:
        image = _applied(op, image)
    return operations.normalize(image, normalization_of(ops))


def normalization_of(ops: Sequence[ProcessOp]) -> Normalization:
    """What the ops do to the values and to the color order; without a Normalize, pixels stay as they are."""
    swaps = sum(isinstance(op, CvtColor) for op in ops)
    color_order: ColorOrder = "BGR" if swaps % 2 else "RGB"
    for op in ops:
        if isinstance(op, Normalize):
            return Normalization.of(op.norma_type, color_order, op.mean, op.std)
    return Normalization(color_order)


def _applied(op: ProcessOp, image: Pixels) -> Pixels:
    hw = (image.shape[0], image.shape[1])
    match op:
        case CvtColor():
            return operations.swap_red_blue(image)
        case Resize():
            return operations.resize(image, _resized_hw(hw, op))
        case Pad():
            canvas_hw = op.size[::-1] if op.size else (max(hw), max(hw))
            _check_fits("Pad", hw, canvas_hw, inner=hw, outer=canvas_hw)
            return operations.center(image, canvas_hw, (op.value, op.value, op.value))
        case CenterCrop():
            _check_fits("CenterCrop", hw, op.size[::-1], inner=op.size[::-1], outer=hw)
            return operations.center(image, op.size[::-1])
        case _:
            return image  # DecodeImage is done before, Normalize and ToTensor after.


def _resized_hw(source_hw: tuple[int, int], op: Resize) -> tuple[int, int]:
    match op.adaptive_side:
        case "long":
            return Letterbox.fit(source_hw, op.box_hw).content_hw
        case "short":
            ratio = max(op.box_hw[0] / source_hw[0], op.box_hw[1] / source_hw[1])
            return round(source_hw[0] * ratio), round(source_hw[1] * ratio)
        case None:
            return op.box_hw


def _check_fits(
    name: str, hw: tuple[int, int], canvas_hw: tuple[int, int], inner: tuple[int, int], outer: tuple[int, int]
) -> None:
    if inner[0] > outer[0] or inner[1] > outer[1]:
        raise ImageError(
            f"process_ops: {name} to {canvas_hw[1]}x{canvas_hw[0]} does not suit an image of {hw[1]}x{hw[0]} px "
            "(width x height); put a Resize before it"
        )
