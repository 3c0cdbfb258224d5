"""What calibration finds: the range of each tensor."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass


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
class RangeTable:
    """The range of each observed tensor, by its name in the float model.

    `method` is the calibrate mode, `samples` the number of images, `content_hash` what it all came from.
    """

    method: str
    samples: int
    content_hash: str
    ranges: Mapping[str, TensorRange]

    def to_json(self) -> str:
        """JSON; numbers return exactly."""
        # As `asdict` has it, which copies every number on its own.
        return json.dumps(vars(self) | {"ranges": {name: vars(found) for name, found in self.ranges.items()}})

    @classmethod
    def from_json(cls, text: str) -> "RangeTable":
        """Raises ValueError, TypeError or KeyError when it is no such JSON."""
        entries = json.loads(text)
        ranges = {
            name: TensorRange(tuple(map(float, entry["low"])), tuple(map(float, entry["high"])))
            for name, entry in entries["ranges"].items()
        }
        return cls(str(entries["method"]), int(entries["samples"]), str(entries["content_hash"]), ranges)
