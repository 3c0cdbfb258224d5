"""Numbers as eight-bit integers: activations u8 with a zero point, weights s8 around 0."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facedeploy.core.normalization import Normalization

LEVELS = 255  # Steps between the lowest and the highest u8.
WEIGHT_LEVELS = 127  # Steps between 0 and the largest s8; -128 is left out, so that weights are as far either way.

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Affine:
    """value = (integer - zero_point) * scale.

    scale (C,) float32, zero_point (C,) u8; of length 1, or scalars, for a whole tensor.
    """

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.uint8]

    def simplified(self) -> "Affine":
        """The same with a scalar scale and zero point, where no channel differs from another."""
        if (self.scale == self.scale[0]).all() and (self.zero_point == self.zero_point[0]).all():
            return Affine(self.scale[0].reshape(()), self.zero_point[0].reshape(()))
        return self


def same_affine(one: Affine | None, other: Affine | None) -> bool:
    """Whether the integers of both stand for the same numbers."""
    if one is None or other is None:
        return one is other
    return np.array_equal(one.scale, other.scale) and np.array_equal(one.zero_point, other.zero_point)


def affine_of(low: Float64, high: Float64) -> Affine:
    """One scale for all channels, the least that spans the range low <= 0 <= high (C,) of each; a zero point for each.

    A channel that needs fewer integers has the rest at both ends, in the ratio of its own. Rounding the zero point may
    cut half a step off one end.
    """
    span = high - low
    widest = float(span.max())
    scale = np.full(len(low), widest / LEVELS if widest else 1, np.float32)
    return Affine(scale, _zero_point(low, span))


def affine_of_pixels(normalization: Normalization) -> Affine:
    """For what u8 pixels become, (3,): the integers are the pixels if the mean is a whole number of pixel steps.

    Each channel has its own scale, as the normalization has.
    """
    mean, std = np.array(normalization.mean), np.array(normalization.std)
    low = np.minimum(-mean / std, 0)
    high = np.maximum((LEVELS / normalization.scale - mean) / std, 0)
    return Affine(((high - low) / LEVELS).astype(np.float32), _zero_point(low, high - low))


def _zero_point(low: Float64, span: Float64) -> npt.NDArray[np.uint8]:
    below = np.divide(-low, span, out=np.zeros_like(low), where=span > 0)
    zero_point: npt.NDArray[np.uint8] = np.rint(below * LEVELS).astype(np.uint8)
    return zero_point


def weight_scale(weight: Float64, per_channel: bool) -> npt.NDArray[np.float32]:
    """Of weight (O, ...): (O,), or () for one of all."""
    largest = np.abs(weight).max(axis=tuple(range(1, weight.ndim)) if per_channel else None)
    scale = (largest / WEIGHT_LEVELS).astype(np.float32)
    # Of weights that are 0, or as good as.
    usable: npt.NDArray[np.float32] = np.where(scale >= np.finfo(np.float32).tiny, scale, np.float32(1))
    return usable
