"""Output npz files -> detections in source px."""

from pathlib import Path

from facedeploy.core.detections import Detections
from facedeploy.core.letterbox import Letterbox
from facedeploy.detect.slots import detections_of
from facedeploy.image.operations import Pixels
from facedeploy.npz.files import read_slots_npz


def decode_slots(path: Path, image: Pixels, canvas_hw: tuple[int, int]) -> Detections:
    """Slots of one image, back from a letterboxed canvas of `canvas_hw`. Raises DataError when the npz is none."""
    return detections_of(read_slots_npz(path), Letterbox.fit((image.shape[0], image.shape[1]), canvas_hw))
