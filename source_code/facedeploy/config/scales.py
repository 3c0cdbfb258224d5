"""Canvases for frames of one size, seen at several scales."""

from collections.abc import Sequence
from dataclasses import replace

from facedeploy.config.build_config import BuildConfig
from facedeploy.core.letterbox import scaled

COARSEST = 32  # px: the stride that nets go down to, even where their heads do not.


def with_scales(config: BuildConfig, scales: Sequence[float], frame_wh: tuple[int, int]) -> BuildConfig:
    """The config with a shape more in `frontend.ladder` for frames of (width, height) px at each of the scales.

    Sides are rounded up to multiples of the net's coarsest stride, so that grids of all strides cover the same; a shape
    that is there already is not added. `FaceDetector.from_artifact` with a `scale` takes them.
    """
    stride = max(COARSEST, *(config.graph.extra_ops.params.strides if config.graph else ()))
    frontend = config.frontend
    batch, channels = frontend.shape_nchw[:2]
    shapes = list(frontend.shapes)
    for scale in scales:
        width, height = (-(-side // stride) * stride for side in scaled(frame_wh, scale))
        if (batch, channels, height, width) not in shapes:
            shapes.append((batch, channels, height, width))
    return replace(config, frontend=replace(frontend, ladder=tuple(shapes[1:])))
