"""What lies in an npz file. Objects are never unpickled."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.core.errors import DataError
from facedeploy.core.files import result_path
from facedeploy.core.shown import shown
from facedeploy.detect.slots import Slots

INPUT = "input_0"
OUTPUTS = {"output_0": 1, "output_1": 4, "output_2": 10}  # Scores, boxes, landmarks: numbers in a slot.
NO_LANDMARKS = 0  # In a slot's landmarks, of a detector that finds none.


def write_image_npz(path: Path, image_bgr: npt.NDArray[np.uint8]) -> None:
    """Write (h, w, 3) u8 BGR pixels as `input_0`: (3, h, w) u8 RGB. Raises DataError when that fails."""
    _write(path, {INPUT: np.ascontiguousarray(image_bgr[..., ::-1].transpose(2, 0, 1))})


def read_image_npz(path: Path) -> npt.NDArray[np.uint8]:
    """Read `input_0`; returns (h, w, 3) u8 RGB. Raises DataError when the file is not such a one."""
    array = _read(path, (INPUT,))[INPUT]
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[0] != 3 or not array.size:
        raise DataError(f"{path}: {INPUT}: got {array.dtype}{list(array.shape)}, expected uint8[3, height, width]")
    return np.ascontiguousarray(array.transpose(1, 2, 0))


def write_slots_npz(path: Path, slots: Slots) -> None:
    """Write the slots of one image: scores (1, K, 1), boxes (1, K, 4), landmarks (1, K, 10), or (1, K, 0), canvas px.

    Raises DataError when that fails.
    """
    _write(path, dict(zip(OUTPUTS, slots, strict=True)))


def read_slots_npz(path: Path) -> Slots:
    """Read what `write_slots_npz` writes. Raises DataError when the file is not such a one."""
    arrays = _read(path, tuple(OUTPUTS))
    count = arrays["output_0"].shape[1] if arrays["output_0"].ndim == 3 else 0
    for name, width in OUTPUTS.items():
        array = arrays[name]
        shapes = [(1, count, each) for each in ((width, NO_LANDMARKS) if name == "output_2" else (width,))]
        if array.shape not in shapes or array.dtype != np.float32:
            slots = "slots" if name == "output_0" else count
            raise DataError(
                f"{path}: {name}: got {array.dtype}{list(array.shape)}, expected float32[1, {slots}, {width}]"
            )
        if not np.isfinite(array).all():
            raise DataError(f"{path}: {name}: got numbers that are not finite")
    return Slots(*(arrays[name] for name in OUTPUTS))


def _write(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    with result_path(path) as temporary:
        np.savez(temporary, **dict(arrays))  # type: ignore[arg-type]


def _read(path: Path, names: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    expected = f"expected an npz file with {', '.join(names)}"
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DataError(f"{path}: is a single array, {expected}")
        with archive:
            missing = [name for name in names if name not in archive]
            if missing:
                has = shown(", ".join(archive)) if len(archive) else "nothing"
                raise DataError(f"{path}: has {has}, {expected}")
            return {name: archive[name] for name in names}
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # A damaged file makes numpy raise nearly anything, zlib.error and RuntimeError too.
        reason = "a name in it is not UTF-8" if isinstance(error, UnicodeError) else str(error) or type(error).__name__
        raise DataError(f"{path}: cannot be read ({shown(reason)}), {expected}") from error
