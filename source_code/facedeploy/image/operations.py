"""Every operation on pixels that calibration and run time share.

Images are (h, w, 3) u8; `_hw` is (height, width) in px.
"""

import numpy as np
import numpy.typing as npt

from facedeploy.config.vdsp_params import ResizeType
from facedeploy.core.errors import ImageError
from facedeploy.core.letterbox import Letterbox
from facedeploy.core.normalization import Normalization
from facedeploy.image.opencv import cv2
from facedeploy.image.pillow_bilinear import resize_pillow_bilinear

Pixels = npt.NDArray[np.uint8]
Tensor = npt.NDArray[np.float32]
Fill = tuple[int, int, int]


def check_pixels(image: npt.NDArray[np.generic]) -> None:
    """Raise ImageError unless the image is (h, w, 3) u8 with at least one pixel."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(f"got an image of shape {image.shape}, {image.dtype}; expected (height, width, 3), uint8")


def resize(image: Pixels, hw: tuple[int, int], resize_type: ResizeType = "BILINEAR_CV") -> Pixels:
    """Resize to `hw`, bilinear in one of three ways.

    BILINEAR_CV: OpenCV's INTER_LINEAR on u8. BILINEAR_PILLOW: Pillow's, antialiased, to the bit. BILINEAR: half-pixel
    centers, no antialiasing, float32, then rounded half to even.
    """
    content = np.empty((*hw, 3), np.uint8)
    _resize_into(content, image, resize_type)
    return content


def lay_on_canvas(
    image: Pixels, box: Letterbox, fill: Fill = (0, 0, 0), resize_type: ResizeType = "BILINEAR_CV"
) -> Pixels:
    """Resize to the content of `box`, lay it on its canvas, `fill` the rest; content outside of the canvas is cut."""
    height, width = box.content_hw
    left, top = box.offset_xy
    inside = left >= 0 and top >= 0 and top + height <= box.canvas_hw[0] and left + width <= box.canvas_hw[1]
    if not inside:
        return place(resize(image, box.content_hw, resize_type), box.canvas_hw, box.offset_xy, fill)
    canvas = blank(box.canvas_hw, fill)
    _resize_into(canvas[top : top + height, left : left + width], image, resize_type)
    return canvas


def place(image: Pixels, canvas_hw: tuple[int, int], offset_xy: tuple[int, int], fill: Fill = (0, 0, 0)) -> Pixels:
    """Lay the image on a canvas with its top left corner at `offset_xy`; what lies outside is cut."""
    canvas = blank(canvas_hw, fill)
    left, top = offset_xy
    height, width = image.shape[:2]
    window = canvas[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
    window[...] = image[max(0, -top) :, max(0, -left) :][: window.shape[0], : window.shape[1]]
    return canvas


def center(image: Pixels, canvas_hw: tuple[int, int], fill: Fill = (0, 0, 0)) -> Pixels:
    """Pad or crop each side to `canvas_hw` about the middle; an odd pixel is added or cut at the right and below."""
    height, width = image.shape[:2]
    return place(image, canvas_hw, (int((canvas_hw[1] - width) / 2), int((canvas_hw[0] - height) / 2)), fill)


def blank(hw: tuple[int, int], fill: Fill = (0, 0, 0)) -> Pixels:
    """An image of one color."""
    canvas = np.zeros((*hw, 3), np.uint8)
    if any(fill):
        canvas[...] = fill
    return canvas


def swap_red_blue(image: Pixels) -> Pixels:
    """RGB -> BGR, or back."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), np.uint8)


def normalize(canvas: Pixels, normalization: Normalization) -> Tensor:
    """u8 (H, W, 3) -> float32 (3, H, W), `(pixel / scale - mean) / std` a float32 step at a time.

    The canvas is in `normalization.color_order`; steps that change nothing are left out.
    """
    tensor = np.empty((3, *canvas.shape[:2]), np.float32)
    scale = np.float32(normalization.scale)
    mean, std = np.array(normalization.mean, np.float32), np.array(normalization.std, np.float32)
    for channel, plane in enumerate(cv2.split(canvas)):
        pixels = plane if scale == 1 else np.divide(plane, scale, dtype=np.float32)
        np.subtract(pixels, mean[channel], out=tensor[channel], dtype=np.float32)
        if std[channel] != 1:
            tensor[channel] /= std[channel]
    return tensor


def _resize_into(out: Pixels, image: Pixels, resize_type: ResizeType) -> None:
    hw = out.shape[:2]
    match resize_type:
        case "BILINEAR_CV":
            cv2.resize(image, hw[::-1], dst=out, interpolation=cv2.INTER_LINEAR)
        case "BILINEAR_PILLOW":
            out[...] = resize_pillow_bilinear(image, hw)
        case "BILINEAR":
            out[...] = np.rint(cv2.resize(image.astype(np.float32), hw[::-1], interpolation=cv2.INTER_LINEAR))
