"""The images that ranges are found with."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from facedeploy.config.build_config import Dataset
from facedeploy.config.process_ops import ProcessOp
from facedeploy.core.errors import DataError, ImageError
from facedeploy.image.dataset import ImageFile, list_images, spread_evenly
from facedeploy.image.decode import read_image
from facedeploy.image.operations import Tensor
from facedeploy.image.process_ops import run_process_ops

FEW = 50  # Images. With fewer, ranges depend on which they are.


@dataclass(frozen=True)
class CalibrationSet:
    """Image files in the order they are used; `samples[index]` reads one: (3, H, W) float32, as the model takes it."""

    files: tuple[ImageFile, ...]
    process_ops: tuple[ProcessOp, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        """Raises ImageError when the file is no image, or does not suit the process_ops."""
        path = self.files[index].path
        image = read_image(path)
        try:
            return run_process_ops(image, self.process_ops)
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error

    def content_hash(self) -> str:
        """SHA-256 of the bytes of the files, in order, and of the process_ops: the same wherever the files lie."""
        digest = hashlib.sha256(json.dumps([asdict(op) for op in self.process_ops], sort_keys=True).encode())
        for file in self.files:
            digest.update(_file_hash(file.path))
        return digest.hexdigest()


def calibration_set(dataset: Dataset, note: Callable[[str], None] = lambda _: None) -> CalibrationSet:
    """The images that `dataset` says: `sampler.get_data_num` of those with the suffix, spread evenly over all of them.

    Evenly, since the images of one event or scene lie side by side in a sorted folder. `note` is told when there are
    fewer than asked for, or too few. Raises DataError when there is none.
    """
    if dataset.path is None or dataset.sampler is None:
        raise ValueError("a build config for int8 has dataset.path and dataset.sampler")
    suffix, wanted = dataset.sampler.suffix, dataset.sampler.get_data_num
    try:
        images = list_images(dataset.path)
    except DataError as error:
        raise DataError(f"dataset.path: {error}") from error
    matching = [image for image in images if image.path.suffix.lower() == f".{suffix.lower().removeprefix('.')}"]
    if not matching:
        others = ", ".join(sorted({image.path.suffix.lstrip(".") for image in images}))
        raise DataError(
            f"dataset.sampler.suffix: got {suffix}, none of the {len(images)} images of {dataset.path} ends so, "
            f"they end in {others}"
        )
    if len(matching) < wanted:
        note(f"dataset.sampler.get_data_num: asks for {wanted} images, {dataset.path} has {len(matching)}: using these")
    count = min(wanted, len(matching))
    if count < FEW:
        note(f"dataset.sampler: {count} images are few to calibrate with; ranges become reliable from {FEW}")
    chosen = tuple(matching[index] for index in spread_evenly(len(matching), wanted))
    return CalibrationSet(chosen, dataset.process_ops)


def refuse_evaluation_images(samples: CalibrationSet, evaluation: Sequence[ImageFile]) -> None:
    """Raise DataError when an image to evaluate with is one to calibrate with, whatever its name: its bytes count."""
    known = {_file_hash(file.path): file for file in evaluation}
    shared = [(file, known[key]) for file in samples.files if (key := _file_hash(file.path)) in known]
    if shared:
        file, same = shared[0]
        raise DataError(
            f"dataset.path: {len(shared)} of the {len(samples)} calibration images are also evaluated, such as "
            f"{file.path} (there {same.path}): accuracy would be measured on images that the ranges were fitted to; "
            "calibrate with others"
        )


def _file_hash(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
