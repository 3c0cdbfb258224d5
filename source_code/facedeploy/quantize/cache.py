"""What calibration found once is read the next time."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facedeploy.config.build_config import QuantizeOptions
from facedeploy.core.files import result_path
from facedeploy.quantize.calibrate import BINS, Progress, calibrate, calibrate_mode
from facedeploy.quantize.calibration import Calibration
from facedeploy.quantize.samples import CalibrationSet

FOLDER = ".ranges"  # In the workspace; hidden, since artifacts of any other name lie beside it.
SCHEMA = 3  # Raised whenever the same images would give other numbers than before.


def calibrated(
    model: Any,
    samples: CalibrationSet,
    options: QuantizeOptions,
    workspace: Path,
    *,
    note: Callable[[str], None] = lambda _: None,
    on_image: Progress = lambda done, total: None,
) -> Calibration:
    """What `calibrate` finds, from `<workspace>/.ranges/` if it was found for this model, data and mode before.

    A file there that cannot be read is made anew. Raises what `calibrate` raises; DataError when none can be written.
    """
    key = _content_hash(model, samples, options)
    path = workspace / FOLDER / f"{key}.npz"
    cached = _read(path, key, note)
    if cached:
        note(f"ranges of {cached.samples} calibration images ({cached.method}): from {path}, nothing was run")
        return cached
    table = calibrate(model, samples, options, content_hash=key, on_image=on_image)
    with result_path(path) as temporary:
        temporary.write_bytes(table.to_bytes())
    note(f"ranges of {table.samples} calibration images ({table.method}): kept in {path} for the next time")
    return table


def _content_hash(model: Any, samples: CalibrationSet, options: QuantizeOptions) -> str:
    """SHA-256 of all that ranges depend on; skipped layers are not among it."""
    graph = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    settings = [SCHEMA, BINS, calibrate_mode(options), options.quantize_per_channel]
    return hashlib.sha256(json.dumps([graph, samples.content_hash(), *settings]).encode()).hexdigest()


def _read(path: Path, key: str, note: Callable[[str], None]) -> Calibration | None:
    try:
        table = Calibration.from_bytes(path.read_bytes())
    except FileNotFoundError:
        return None
    except Exception:  # A damaged file makes numpy raise nearly anything, zlib.error and RuntimeError too.
        note(f"{path} cannot be used, calibrating again")
        return None
    return table if table.content_hash == key else None
