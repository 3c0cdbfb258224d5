"""Which shapes of an artifact a detector uses."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from facedeploy.artifact.manifest import Rung
from facedeploy.artifact.store import Artifact
from facedeploy.config.vdsp_params import VdspParams
from facedeploy.core.errors import ConfigError, ShapeError
from facedeploy.core.letterbox import check_scale
from facedeploy.core.shown import size_text

Canvas = tuple[int, int] | Literal["nearest"]  # Height and width, px; or all that there are, to choose for each image.


def rungs_for(
    artifact: Artifact, default_hw: tuple[int, int], canvas: Canvas | None, batch: int | None
) -> Sequence[Rung]:
    """Those of `canvas`, by default of the canvas `default_hw`, that take up to `batch` images.

    By default that is the batch of the first shape. A canvas that has larger batches alone is there with the smallest
    of them. Raises ShapeError for what the artifact does not hold, ConfigError for what is no canvas.
    """
    ladder = artifact.manifest.ladder
    canvas_hw = _canvas_hw(canvas, default_hw)
    fitting = [rung for rung in ladder if canvas_hw in (None, rung.canvas_hw)]
    if canvas_hw is not None and not fitting:
        asked = "the vdsp JSON makes a canvas of" if canvas is None else "canvas"
        raise ShapeError(
            f"{asked} {size_text(canvas_hw)} (height x width), {artifact.prefix} holds "
            f"{_listed(size_text(rung.canvas_hw) for rung in ladder)}: take one of these (a JSON has OimageHeight and "
            "OimageWidth), or compile with that size in frontend.shape or frontend.ladder"
        )
    most = batch or artifact.manifest.base.batch
    if batch is not None and all(rung.batch != batch for rung in fitting):
        raise ShapeError(
            f"batch {batch}: {artifact.prefix} holds {_listed(str(rung.batch) for rung in fitting)}; "
            "frontend.shape and frontend.ladder of the build config decide"
        )
    least = {hw: min(rung.batch for rung in fitting if rung.canvas_hw == hw) for hw in {r.canvas_hw for r in fitting}}
    return [rung for rung in fitting if rung.batch <= max(most, least[rung.canvas_hw])]


def _canvas_hw(canvas: Canvas | None, default_hw: tuple[int, int]) -> tuple[int, int] | None:
    """The canvas to use; None: any. Raises ConfigError."""
    if canvas is None:
        return default_hw
    if canvas == "nearest":
        return None
    if isinstance(canvas, list | tuple) and len(canvas) == 2 and all(isinstance(side, int) for side in canvas):
        return canvas[0], canvas[1]
    raise ConfigError(f"canvas: got {canvas!r}, expected (height, width) in px, or 'nearest'")


def on_canvas(params: VdspParams, canvas_hw: tuple[int, int]) -> VdspParams:
    """The same on a canvas of another size, (height, width) px.

    Raises ConfigError where an image does not have the whole canvas, so that its place on another is not known.
    """
    geometry = params.geometry
    if canvas_hw == geometry.canvas_hw:
        return params
    if geometry.resize_hw != geometry.canvas_hw or geometry.origin_xy != (0, 0):
        raise ConfigError(
            f"the vdsp JSON lays images on a part of its canvas of {size_text(geometry.canvas_hw)} (height x width), "
            f"which does not say where on one of {size_text(canvas_hw)}: leave --canvas out, or take a JSON that uses "
            "it all"
        )
    return replace(params, geometry=replace(geometry, canvas_hw=canvas_hw, resize_hw=canvas_hw))


def at_scale(params: VdspParams, scale: float) -> VdspParams:
    """The same for images at so many times their own size, the top left corners of image and canvas being one.

    Raises ConfigError for a scale that is none, or where an image does not have the whole canvas, or not its aspect.
    """
    check_scale(scale)
    geometry = params.geometry
    if not geometry.keep_aspect or geometry.resize_hw != geometry.canvas_hw or geometry.origin_xy != (0, 0):
        raise ConfigError(
            "the vdsp JSON says another size of images than a scale does (it resizes, crops or pads): "
            "leave --scale out, or take a JSON of a plain letterbox"
        )
    return replace(params, geometry=replace(geometry, scale=scale))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
