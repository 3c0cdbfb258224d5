"""What decides which decoded boxes are kept."""

from dataclasses import dataclass
from numbers import Integral

CANDIDATES = 5000  # The best boxes above the threshold that suppression looks at, as Pytorch_Retinaface's top_k.


@dataclass(frozen=True)
class NmsParams:
    """Keep `score > confidence_threshold`; suppress `IoU > nms_threshold`; the best `max_detections` remain."""

    confidence_threshold: float = 0.02
    nms_threshold: float = 0.4
    max_detections: int = 750

    def __post_init__(self) -> None:
        if not 0 <= self.confidence_threshold <= 1:
            raise ValueError(f"confidence_threshold: got {self.confidence_threshold}, expected a number from 0 to 1")
        if not 0 <= self.nms_threshold <= 1:
            raise ValueError(f"nms_threshold: got {self.nms_threshold}, expected a number from 0 to 1")
        if not isinstance(self.max_detections, Integral) or not 1 <= self.max_detections <= CANDIDATES:
            raise ValueError(
                f"max_detections: got {self.max_detections!r}, expected a whole number from 1 to {CANDIDATES}"
            )
