"""How often each value occurs, for each channel: it grows with the channels, not with the images."""

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Values = npt.NDArray[np.float32]


class Extent:
    """The lowest and the highest value of each channel so far; 0 is always inside, since padding is 0."""

    def __init__(self, channels: int) -> None:
        self.low: Float64 = np.zeros(channels)
        self.high: Float64 = np.zeros(channels)

    def add(self, values: Values) -> None:
        """Values (C, n) of the next image."""
        self.low = np.minimum(self.low, values.min(axis=1))
        self.high = np.maximum(self.high, values.max(axis=1))


class Histogram:
    """counts (C, bins): how many values lie in each of `bins` equal parts of a channel's extent, low to high (C,)."""

    def __init__(self, extent: Extent, bins: int) -> None:
        self.low, self.high, self.bins = extent.low, extent.high, bins
        self.counts = np.zeros((len(extent.low), bins), np.int64)
        width = (self.high - self.low) / bins
        self._per_value = np.divide(1, width, out=np.zeros_like(width), where=width > 0)

    @property
    def centers(self) -> Float64:
        """(C, bins) the value in the middle of each bin."""
        steps = (np.arange(self.bins) + 0.5) / self.bins
        return self.low[:, None] + (self.high - self.low)[:, None] * steps

    def add(self, values: Values) -> None:
        """Values (C, n) of the next image; those outside of the extent count at its ends."""
        channels = len(self.low)
        position = (values - self.low[:, None].astype(np.float32)) * self._per_value[:, None].astype(np.float32)
        index = np.clip(position, 0, self.bins - 1).astype(np.int64) + self.bins * np.arange(channels)[:, None]
        self.counts += np.bincount(index.ravel(), minlength=self.counts.size).reshape(channels, self.bins)
