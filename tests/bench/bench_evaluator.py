"""Seconds to evaluate all 3,226 images of WIDER FACE's validation set with 750 boxes each, on one core. Run by hand:

    python tests/bench/bench_evaluator.py --ground-truth ../shared/data/ground_truth_full --json evaluator.json

The predictions are made up, in a temporary folder: every labeled face, jittered, and random boxes up to 750. Expected:
about 7 s, over half of them for reading the files. CORE is the core; --keep DIR leaves the predictions there.
"""

import argparse
import json
import os
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

CORE = 0
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
os.sched_setaffinity(0, {CORE})

import numpy as np  # noqa: E402

from facedeploy.core.detections import Detections  # noqa: E402
from facedeploy.widerface.evaluate import evaluate  # noqa: E402
from facedeploy.widerface.ground_truth import ImageFaces, load_ground_truth  # noqa: E402
from facedeploy.widerface.matching import match  # noqa: E402
from facedeploy.widerface.prediction_files import read_predictions, write_predictions  # noqa: E402

BOXES = 750


def made_up(image: ImageFaces, generator: np.random.Generator) -> Detections:
    """BOXES boxes: the labeled faces, jittered by a tenth of their size, then random ones with lower scores."""
    faces = image.boxes_xywh[:BOXES]
    faces = faces + generator.normal(0, 0.1, faces.shape) * faces[:, [2, 3, 2, 3]]
    noise = generator.uniform([0, 0, 5, 5], [1000, 700, 150, 150], (BOXES - len(faces), 4))
    xywh = np.concatenate([faces, noise])
    scores = np.concatenate([generator.beta(4, 1, len(faces)), generator.uniform(0.02, 0.4, len(noise))])
    order = np.argsort(-scores)
    boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)[order]
    return Detections(boxes.astype(np.float32), scores[order].astype(np.float32), np.zeros((BOXES, 5, 2), np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ground-truth", type=Path, required=True, help="folder of the four .mat files")
    parser.add_argument("--keep", type=Path, help="write the predictions here and leave them")
    parser.add_argument("--json", type=Path, help="write the numbers too")
    arguments = parser.parse_args()

    seconds: dict[str, float] = {}
    start = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal start
        seconds[stage] = round(time.perf_counter() - start, 3)
        start = time.perf_counter()

    images = load_ground_truth(arguments.ground_truth)
    lap("load the ground truth")
    generator = np.random.default_rng(0)
    with nullcontext(arguments.keep) if arguments.keep else tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{image.name}.txt" for image in images]
        for image, path in zip(images, paths, strict=True):
            write_predictions(path, image.name, made_up(image, generator))
        lap("make up and write the predictions")
        predictions = [read_predictions(path) for path in paths]
        lap("read the predictions")
        for image, found in zip(images, predictions, strict=True):
            match(image, found)
        lap("match")
        del predictions
        start = time.perf_counter()
        result = evaluate(Path(folder), arguments.ground_truth)
        lap("evaluate, all of it")

    for stage, value in seconds.items():
        print(f"{stage:<36}{value:8.2f} s")
    print(f"{result.images} images, {result.boxes} boxes: AP {result.easy:.4f} {result.medium:.4f} {result.hard:.4f}")
    if arguments.json:
        average = {"easy": result.easy, "medium": result.medium, "hard": result.hard}
        arguments.json.write_text(
            json.dumps({"seconds": seconds, "boxes": result.boxes, "ap": average}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
