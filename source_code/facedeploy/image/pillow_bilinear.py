"""Pillow's antialiased bilinear resize, to the bit, without Pillow.

The arithmetic is that of Pillow's ImagingResample: a triangle as wide as a source pixel or a target pixel, whichever is
larger; weights in fixed point; along x first, rounded to u8, then along y. (Pillow does so up to version 12; from 13 on
it goes along y first for some shapes, which changes a value by 1 at most.)
"""

import numpy as np
import numpy.typing as npt

PRECISION_BITS = 32 - 8 - 2  # Room for a u8, and for sums of weights that slightly exceed 1.


def resize_pillow_bilinear(image: npt.NDArray[np.uint8], hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(h, w, channels) u8 -> (*hw, channels) u8."""
    height, width = hw
    columns = _resample(image.swapaxes(0, 1), width).swapaxes(0, 1)
    return np.ascontiguousarray(_resample(columns, height))


def _resample(image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Resize the first axis."""
    if len(image) == size:
        return image
    first, weights = _weights(len(image), size)
    total = np.full((size, *image.shape[1:]), 1 << (PRECISION_BITS - 1), np.int32)
    for tap, weight in enumerate(weights):
        rows = np.minimum(first + tap, len(image) - 1)  # Past the end the weight is 0.
        total += image[rows].astype(np.int32) * weight[:, None, None]
    total >>= PRECISION_BITS
    return total.clip(0, 255).astype(np.uint8)


def _weights(source: int, target: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """For each target index: the first source index, (target,), and the weights from there on, (taps, target)."""
    scale = source / target
    support = max(scale, 1.0)
    centers = (np.arange(target) + 0.5) * scale
    first = np.maximum((centers - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centers + support + 0.5).astype(np.int64), source)
    taps = np.arange(int((end - first).max()))[:, None]
    distance = np.abs((taps + first - centers + 0.5) * (1.0 / support))
    weights = np.where(taps < end - first, np.maximum(1.0 - distance, 0.0), 0.0)
    weights /= sum(weights)  # One tap after another, as Pillow adds: numpy's pairwise sum would round otherwise.
    return first, (weights * (1 << PRECISION_BITS) + 0.5).astype(np.int32)
