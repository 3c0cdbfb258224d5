"""The last stage of a run: results onto disk."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facedeploy.core.detections import Detections
from facedeploy.core.errors import ConfigError, ImageError
from facedeploy.core.files import remove_partial, remove_result
from facedeploy.core.shown import shown
from facedeploy.image.dataset import ImageFile
from facedeploy.image.draw import draw_detections, write_image
from facedeploy.image.operations import Pixels
from facedeploy.widerface.prediction_files import write_predictions

if TYPE_CHECKING:  # npz-decode writes without tvm.
    from facedeploy.runtime.operator import Unit


@dataclass(frozen=True)
class PredictionWriter:
    """Writes `<folder>/<name>.txt` and, when `draw_threshold` is a score, `<folder>/<name>.jpg`.

    `wrote_all(name)` is called when an image's results are on disk.
    """

    folder: Path
    draw_threshold: float | None = None
    wrote_all: Callable[[str], None] = lambda _: None

    def __call__(self, unit: "Unit") -> "Unit":
        """Write each image of the unit that has detections; `error` is set where its results cannot be a file's.

        Of one with an error no results remain, lest those of an earlier run are taken for this one's.
        """
        for work in unit:
            if work.detections is not None and work.image is not None:
                try:
                    self.write(work.name, work.detections, work.image)
                    self.wrote_all(work.name)
                except ImageError as error:
                    work.error = error
            if work.error is not None:
                self.remove(work.name)
        return unit

    def write(self, name: str, detections: Detections, image: Pixels) -> None:
        """Write one image's results; `name` is `<event>/<image>`.

        Raises DataError when the disk does not take them; ImageError when the picture cannot be encoded, or a number
        is not finite.
        """
        write_predictions(self._predictions(name), name, detections)
        if self.draw_threshold is not None:
            write_image(self._picture(name), draw_detections(image, detections, self.draw_threshold))

    def remove(self, name: str) -> None:
        """Remove an image's results of an earlier run. Raises DataError when they cannot be removed."""
        remove_result(self._predictions(name))
        if self.draw_threshold is not None:
            remove_result(self._picture(name))

    def refuse_overwriting(self, images: Iterable[ImageFile]) -> None:
        """Raise ConfigError when a picture would take the place of the image that it shows."""
        if self.draw_threshold is None:
            return
        for image in images:
            if self._picture(image.name).resolve() == image.path.resolve():
                raise ConfigError(f"--draw would overwrite {image.path}: write the results to another folder")

    def refuse_folders_for_files(self, names: Collection[str], others: Iterable[str]) -> None:
        """Raise ConfigError when results, or one of the `others` beside them, would lie where results have a folder."""
        folders: set[str] = set()
        for name in names:
            folder = name.rpartition("/")[0]
            while folder and folder not in folders:
                folders.add(folder)
                folder = folder.rpartition("/")[0]
        suffixes = [".txt"] + ([".jpg"] if self.draw_threshold is not None else [])
        files = (f"{name}{suffix}" for suffix in suffixes for name in names)
        if taken := next((file for file in (*others, *files) if file in folders), None):
            raise ConfigError(
                f"{self.folder / taken} would be a file of results, and the folder of results of the images in a "
                f"folder {shown(taken)}: rename that folder"
            )

    def refuse_among_images(self, root: Path | None) -> None:
        """Raise ConfigError when pictures would lie below the folder of the images, and count as images next time."""
        if self.draw_threshold is None or root is None:
            return
        if self.folder.resolve().is_relative_to(root.resolve()):
            raise ConfigError(
                f"--draw would write pictures among the images of {root}, where the next run would take them for "
                "images: write the results to another folder"
            )

    def wrote(self, name: str) -> bool:
        """Whether an image's results are there; a file is empty where the machine itself went down."""
        files = [Path(self._predictions(name))] + ([self._picture(name)] if self.draw_threshold is not None else [])
        try:
            return all(file.stat().st_size for file in files)
        except OSError:
            return False

    def remove_partial(self, names: Iterable[str]) -> None:
        """Remove what a killed run was writing when it was killed, where the results of `names` go."""
        for folder in {"", *(name.rpartition("/")[0] for name in names)}:  # The journal lies in the first.
            remove_partial(self.folder / folder)

    def _predictions(self, name: str) -> str:
        # The name may hold a dot, so the suffix is appended, not replaced. No Path: that takes longer than the rename.
        return f"{self.folder}/{name}.txt"

    def _picture(self, name: str) -> Path:
        return self.folder / f"{name}.jpg"
