"""Ranges found once are read the next time."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facedeploy.config.build_config import QuantizeOptions
from facedeploy.core.files import write_text
from facedeploy.quantize.calibrate import BINS, Progress, calibrate, calibrate_mode
from facedeploy.quantize.ranges import RangeTable
from facedeploy.quantize.samples import CalibrationSet

FOLDER = ".ranges"  # In the workspace; hidden, since artifacts of any other name lie beside it.
SCHEMA = 1  # Raised whenever the same images would give other ranges than before.


def calibrated(
    model: Any,
    samples: CalibrationSet,
    options: QuantizeOptions,
    workspace: Path,
    *,
    note: Callable[[str], None] = lambda _: None,
    on_image: Progress = lambda done, total: None,
) -> RangeTable:
    """What `calibrate` finds, from `<workspace>/.ranges/` if it was found for this model, data and mode before.

    A file there that cannot be read is made anew. Raises what `calibrate` raises; DataError when none can be written.
    """
    key = _content_hash(model, samples, options)
    path = workspace / FOLDER / f"{key}.json"
    cached = _read(path, key, note)
    if cached:
        note(f"ranges of {cached.samples} calibration images ({cached.method}): from {path}, nothing was run")
        return cached
    table = calibrate(model, samples, options, content_hash=key, on_image=on_image)
    write_text(path, table.to_json())
    note(f"ranges of {table.samples} calibration images ({table.method}): kept in {path} for the next time")
    return table


def _content_hash(model: Any, samples: CalibrationSet, options: QuantizeOptions) -> str:
    """SHA-256 of all that ranges depend on; skipped layers are not among it."""
    graph = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    settings = [SCHEMA, BINS, calibrate_mode(options), options.quantize_per_channel]
    return hashlib.sha256(json.dumps([graph, samples.content_hash(), *settings]).encode()).hexdigest()


def _read(path: Path, key: str, note: Callable[[str], None]) -> RangeTable | None:
    try:
        table = RangeTable.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        note(f"{path} cannot be used, calibrating again")
        return None
    return table if table.content_hash == key else None
