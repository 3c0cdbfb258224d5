"""The last stage of a run: results onto disk."""

from dataclasses import dataclass
from pathlib import Path

from facedeploy.core.detections import Detections
from facedeploy.image.draw import draw_detections, write_image
from facedeploy.image.operations import Pixels
from facedeploy.runtime.operator import Unit
from facedeploy.widerface.prediction_files import write_predictions


@dataclass(frozen=True)
class PredictionWriter:
    """Writes `<folder>/<name>.txt` and, when `draw_threshold` is a score, `<folder>/<name>.jpg`."""

    folder: Path
    draw_threshold: float | None = None

    def __call__(self, unit: Unit) -> Unit:
        """Write each image of the unit that has detections."""
        for work in unit:
            if work.detections is not None and work.image is not None:
                self.write(work.name, work.detections, work.image)
        return unit

    def write(self, name: str, detections: Detections, image: Pixels) -> None:
        """Write one image's results; `name` is `<event>/<image>`. Raises DataError when the disk does not take them."""
        # The name may hold a dot, so the suffix is appended, not replaced.
        write_predictions(self.folder / f"{name}.txt", name, detections)
        if self.draw_threshold is not None:
            write_image(self.folder / f"{name}.jpg", draw_detections(image, detections, self.draw_threshold))
