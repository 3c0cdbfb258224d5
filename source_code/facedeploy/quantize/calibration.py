"""What calibration finds: the range of each tensor, and what convolutions read."""

import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from facedeploy.quantize.moments import Moments


@dataclass(frozen=True)
class TensorRange:
    """Lowest and highest value to represent, for each channel, or one pair for the tensor. low <= 0 <= high."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high) or not self.low:
            raise ValueError(f"got {len(self.low)} low and {len(self.high)} high ends, expected as many of each")
        if not (all(-math.inf < low <= 0 for low in self.low) and all(0 <= high < math.inf for high in self.high)):
            raise ValueError("a range must be finite and hold 0, which padding needs")


@dataclass(frozen=True)
class Calibration:
    """The range of each observed tensor, by its name in the float model; moments, by the index of a convolution.

    `method` is the calibrate mode, `samples` the number of images, `content_hash` what it all came from.
    """

    method: str
    samples: int
    content_hash: str
    ranges: Mapping[str, TensorRange]
    moments: Mapping[int, Moments] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """An npz file; numbers return exactly."""
        # As `asdict` has it, which copies every number on its own.
        entries = vars(self) | {"ranges": {name: vars(found) for name, found in self.ranges.items()}}
        entries["moments"] = list(self.moments)
        arrays = {
            f"{index}.{name}": array for index, found in self.moments.items() for name, array in vars(found).items()
        }
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, json=np.array(json.dumps(entries)), **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Calibration":
        """Raises ValueError, TypeError or KeyError when it is no such file."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                entries = json.loads(str(arrays["json"]))
                moments = {
                    int(index): Moments(arrays[f"{index}.mean"], arrays[f"{index}.covariance"])
                    for index in entries["moments"]
                }
        except (zipfile.BadZipFile, EOFError) as error:
            raise ValueError(f"no npz file: {error}") from error
        ranges = {
            name: TensorRange(tuple(map(float, entry["low"])), tuple(map(float, entry["high"])))
            for name, entry in entries["ranges"].items()
        }
        return cls(str(entries["method"]), int(entries["samples"]), str(entries["content_hash"]), ranges, moments)
