"""u8 canvas pixels -> the float input of a model, as one TIR function."""

from typing import Any

import numpy as np
from tvm.script import tirx as T

from facedeploy.core.normalization import Normalization


def normalize(normalization: Normalization, batch: int, canvas_hw: tuple[int, int]) -> Any:
    """Build `normalize(pixels, tensor)`: pixels (N, H, W, 3) u8 -> tensor (N, 3, H, W) float32; a tirx PrimFunc.

    A float32 step at a time, as `Normalization` says, so that the result equals the numpy path to the bit: a division
    stays a division, and the steps that change nothing are left out.
    """
    height, width = canvas_hw
    scale = np.float32(normalization.scale)
    mean, std = np.array(normalization.mean, np.float32), np.array(normalization.std, np.float32)

    def of_channel(pixel: Any, channel: int) -> Any:
        value = T.Cast("float32", pixel)
        if scale != 1:
            value = value / T.float32(float(scale))
        if mean[channel] != 0:
            value = value - T.float32(float(mean[channel]))
        if std[channel] != 1:
            value = value / T.float32(float(std[channel]))
        return value

    @T.prim_func(s_tir=True, private=True)
    def kernel(pixels_handle: T.handle, tensor_handle: T.handle):
        T.func_attr({"tirx.noalias": True})
        pixels = T.match_buffer(pixels_handle, (batch, height, width, 3), "uint8", align=1)
        tensor = T.match_buffer(tensor_handle, (batch, 3, height, width), "float32")
        for row in T.parallel(batch * height):
            image, y = T.meta_var((row // height, row % height))
            for x in T.serial(width):
                tensor[image, 0, y, x] = of_channel(pixels[image, y, x, 0], 0)
                tensor[image, 1, y, x] = of_channel(pixels[image, y, x, 1], 1)
                tensor[image, 2, y, x] = of_channel(pixels[image, y, x, 2], 2)

    return kernel
