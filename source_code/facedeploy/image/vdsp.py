"""The run time's adapter: what the fused preprocessing operator does to one image."""

from facedeploy.config.vdsp_params import VdspParams
from facedeploy.core.errors import ImageError
from facedeploy.core.letterbox import Letterbox, scaled
from facedeploy.core.normalization import ColorOrder, Normalization
from facedeploy.core.shown import size_text
from facedeploy.image import operations
from facedeploy.image.operations import Pixels, Tensor


def preprocess(image: Pixels, params: VdspParams, source_order: ColorOrder = "BGR") -> tuple[Tensor, Letterbox]:
    """(h, w, 3) u8 in `source_order` -> the model's input, (3, H, W) float32, and where the image lies on the canvas.

    Raises ImageError when the image is not (h, w, 3) u8.
    """
    canvas, box = to_canvas(image, params, source_order)
    return normalize(canvas, params), box


def to_canvas(image: Pixels, params: VdspParams, source_order: ColorOrder = "BGR") -> tuple[Pixels, Letterbox]:
    """The first half of `preprocess`: the canvas, (H, W, 3) u8, in the model's `params.color_order`.

    The channels are swapped only where `source_order` differs from that. Raises ImageError as `preprocess` does.
    """
    operations.check_pixels(image)
    box = letterbox(params, (image.shape[0], image.shape[1]))
    fill = params.fill
    if source_order == params.color_order:
        return operations.lay_on_canvas(image, box, fill, params.resize_type), box
    canvas = operations.lay_on_canvas(image, box, (fill[2], fill[1], fill[0]), params.resize_type)
    return operations.swap_red_blue(canvas), box


def normalize(canvas: Pixels, params: VdspParams) -> Tensor:
    """The second half: the canvas, (H, W, 3) u8 in the model's color order -> (3, H, W) float32."""
    return operations.normalize(canvas, normalization_from_vdsp(params))


def normalization_from_vdsp(params: VdspParams) -> Normalization:
    """What the operator does to the values, to compare with what an artifact was built for."""
    return Normalization.of(params.norma_type, params.color_order, params.mean, params.std)


def letterbox(params: VdspParams, source_hw: tuple[int, int]) -> Letterbox:
    """Where the operator lays a source of (height, width) px; `to_source` of it leads detections back.

    Raises ImageError for a source that is too large for its canvas at `geometry.scale`.
    """
    geometry = params.geometry
    if geometry.scale is not None:
        content_hw = scaled(source_hw, geometry.scale)
        if not fits(content_hw, geometry.resize_hw):
            raise ImageError(
                f"an image of {size_text(source_hw)} is {size_text(content_hw)} at scale {geometry.scale:g}, "
                f"the canvas {size_text(geometry.resize_hw)} (height x width) has no room for it: take a lower scale, "
                "or compile larger canvases (facedeploy compile --scales)"
            )
        return Letterbox(source_hw, geometry.canvas_hw, content_hw, geometry.origin_xy)
    area = Letterbox(source_hw, geometry.resize_hw, geometry.resize_hw, (0, 0))
    if geometry.keep_aspect:
        area = Letterbox.fit(source_hw, geometry.resize_hw)
    offset_xy = (area.offset_xy[0] + geometry.origin_xy[0], area.offset_xy[1] + geometry.origin_xy[1])
    return Letterbox(source_hw, geometry.canvas_hw, area.content_hw, offset_xy)


def fits(content_hw: tuple[int, int], area_hw: tuple[int, int]) -> bool:
    """Whether an area, (height, width) px, has room for what is so large."""
    return content_hw[0] <= area_hw[0] and content_hw[1] <= area_hw[1]
