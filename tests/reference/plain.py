"""What the plain pipelines share: letterbox, suppression, prediction files, AP; nothing of it is the package's."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("FACEDEPLOY_DATA", REPOSITORY.parent / "shared")).resolve() / "data" / "wider_val_dev"
SCORE, IOU, CANDIDATES, KEPT = 0.02, 0.4, 5000, 750

# A canvas, (side, side, 3) u8 BGR, -> boxes (n, 4) x1 y1 x2 y2, px of the canvas, and scores (n,), of all priors.
Decoded = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def evaluate(decoded: Decoded, side: int, key: str, results: Path | None) -> None:
    """Predict all images of wider_val_dev, print their AP, and add it to the JSON file `results` as `key`."""
    with tempfile.TemporaryDirectory() as folder:
        predictions, result = Path(folder) / "predictions", Path(folder) / "result.json"
        for path in sorted((DATA / "images").glob("*/*.jpg")):
            rows = faces_of(cv2.imread(str(path)), decoded, side)
            lines = [path.stem, str(len(rows)), *(" ".join(map(repr, row)) for row in rows.tolist())]
            target = predictions / path.parent.name / f"{path.stem}.txt"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("\n".join(lines) + "\n")
        facedeploy("eval", "-p", predictions, "-g", DATA / "ground_truth", "--json", result)
        numbers = json.loads(result.read_text())
    if results:
        known = json.loads(results.read_text()) if results.is_file() else {}
        known[key] = {name: numbers[name] for name in ("easy", "medium", "hard", "images", "boxes")}
        results.write_text(json.dumps(known, indent=2) + "\n")


def facedeploy(verb: str, *options: object) -> None:
    """Run a verb of the package; its errors end the program."""
    code = "import sys; from facedeploy.cli.main import main; sys.exit(main(sys.argv[1:]))"
    subprocess.run([sys.executable, "-c", code, verb, *map(str, options)], check=True)


def faces_of(image: np.ndarray, decoded: Decoded, side: int) -> np.ndarray:
    """(h, w, 3) u8 BGR -> (n, 5) x y w h score in its px, best first."""
    height, width = image.shape[:2]
    ratio = side / max(height, width)
    inner_w, inner_h = round(width * ratio), round(height * ratio)
    left, top = (side - inner_w) // 2, (side - inner_h) // 2
    canvas = np.zeros((side, side, 3), np.uint8)
    canvas[top : top + inner_h, left : left + inner_w] = cv2.resize(image, (inner_w, inner_h))
    boxes, scores = decoded(canvas)
    order = np.argsort(-scores, kind="stable")[:CANDIDATES]
    order = order[scores[order] > SCORE]
    boxes = boxes[order].astype(np.float64)
    kept = suppress(boxes)
    corners = (boxes[kept] - (left, top, left, top)) * np.tile([width / inner_w, height / inner_h], 2)
    return np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2], scores[order[kept], None]])


def suppress(boxes: np.ndarray) -> list[int]:
    """Greedy; sides count + 1; the best 750."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)
    columns, kept = np.vstack([boxes.T, areas, np.arange(len(boxes))]), []
    while columns.shape[1] and len(kept) < KEPT:
        (x1, y1, x2, y2, area, index), columns = columns[:, 0], columns[:, 1:]
        kept.append(int(index))
        width = np.minimum(x2, columns[2]) - np.maximum(x1, columns[0]) + 1
        height = np.minimum(y2, columns[3]) - np.maximum(y1, columns[1]) + 1
        overlap = width.clip(0) * height.clip(0)
        columns = columns[:, overlap <= IOU * (area + columns[4] - overlap)]
    return kept
