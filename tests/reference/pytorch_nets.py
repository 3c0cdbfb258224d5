"""AP of exported PyTorch nets on the WIDER FACE images of FACEDEPLOY_DATA, by a pipeline of its own. Run by hand:

    python tests/reference/pytorch_nets.py slim slim_Final.pth --json tests/reference/pytorch_nets.json

Exports the checkpoint, runs the ONNX file in onnxruntime on one thread, and writes predictions that `facedeploy eval`
reads. Letterbox, priors, decoding and suppression are written here again, from the nets' own repositories, so that a
wrong prior or a swapped channel in the package shows in the AP. Score above 0.02, NMS 0.4, the best 750.

pytorch_nets.json has what came out at 640 (495 images of wider_val_dev, about five minutes a net). lightDSFD's own
figures are 0.891, 0.864, 0.469 (all 3,226 images, not resized).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("FACEDEPLOY_DATA", REPOSITORY.parent / "shared")).resolve() / "data" / "wider_val_dev"
SCORE, IOU, CANDIDATES, KEPT = 0.02, 0.4, 5000, 750

# Stride -> sizes of the priors of a cell, px; width and height of each as multiples of the size.
SLIM = ({8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}, (1.0, 1.0))
DSFD = ({4: (16,), 8: (32,), 16: (64,), 32: (128,), 64: (256,), 128: (512,)}, (1.5**-0.5, 1.5**0.5))
PRIORS = {
    "mobilenet0.25": ({8: (16, 32), 16: (64, 128), 32: (256, 512)}, (1.0, 1.0)),
    "mobilenet0.25_FD1MB": ({8: (10, 20), 16: (32, 64), 32: (128, 256)}, (1.0, 1.0)),
    "slim": SLIM,
    "RFB": SLIM,
    "lightDSFD": DSFD,
    "DSFD": DSFD,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", choices=PRIORS)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--size", type=int, default=640, help="side of the canvas, px")
    parser.add_argument("--json", type=Path, help="add the APs to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options = ["--model_name", arguments.net, "--weight_path", arguments.checkpoint.resolve()]
        facedeploy("export", *options, "--size", arguments.size, "--output_dir", folder)
        detector = Detector(Path(folder) / f"{arguments.net}_{arguments.size}.onnx", arguments.net, arguments.size)
        write_predictions(detector, Path(folder) / "predictions")
        result = Path(folder) / "result.json"
        facedeploy("eval", "-p", Path(folder) / "predictions", "-g", DATA / "ground_truth", "--json", result)
        numbers = json.loads(result.read_text())
    if arguments.json:
        known = json.loads(arguments.json.read_text()) if arguments.json.is_file() else {}
        known[f"{arguments.net}_{arguments.size}"] = numbers
        arguments.json.write_text(json.dumps(known, indent=2) + "\n")


def facedeploy(verb: str, *options: object) -> None:
    code = "import sys; from facedeploy.cli.main import main; sys.exit(main(sys.argv[1:]))"
    subprocess.run([sys.executable, "-c", code, verb, *map(str, options)], check=True)


class Detector:
    """An image, (h, w, 3) u8 BGR, -> (n, 5) x y w h score in its px, best first."""

    def __init__(self, onnx: Path, net: str, side: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
        self.side = side
        self.priors = priors(*PRIORS[net], side)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        ratio = self.side / max(height, width)
        inner_w, inner_h = round(width * ratio), round(height * ratio)
        left, top = (self.side - inner_w) // 2, (self.side - inner_h) // 2
        canvas = np.zeros((self.side, self.side, 3), np.uint8)
        canvas[top : top + inner_h, left : left + inner_w] = cv2.resize(image, (inner_w, inner_h))
        blob = (canvas.astype(np.float32) - (104, 117, 123)).astype(np.float32).transpose(2, 0, 1)[None]
        loc, conf = self.session.run(["loc", "conf"], {"input": blob})
        scores = conf[0, :, 1]
        order = np.argsort(-scores, kind="stable")[:CANDIDATES]
        order = order[scores[order] > SCORE]
        encoded, prior = loc[0, order].astype(np.float64), self.priors[order]
        center = prior[:, :2] + encoded[:, :2] * 0.1 * prior[:, 2:]
        size = prior[:, 2:] * np.exp(encoded[:, 2:] * 0.2)
        boxes = np.hstack([center - size / 2, center + size / 2]) * self.side
        kept = suppress(boxes)
        corners = (boxes[kept] - (left, top, left, top)) * np.tile([width / inner_w, height / inner_h], 2)
        return np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2], scores[order[kept], None]])


def priors(levels: dict[int, tuple[int, ...]], shape: tuple[float, float], side: int) -> np.ndarray:
    """(P, 4) cx cy w h as shares of the canvas; none of them exceeds 1 where priors are not square."""
    rows = [
        [(j + 0.5) * stride / side, (i + 0.5) * stride / side, size * shape[0] / side, size * shape[1] / side]
        for stride, sizes in levels.items()
        for i in range(-(-side // stride))
        for j in range(-(-side // stride))
        for size in sizes
    ]
    return np.array(rows) if shape == (1.0, 1.0) else np.minimum(rows, 1)


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


def write_predictions(detector: Detector, folder: Path) -> None:
    for path in sorted((DATA / "images").glob("*/*.jpg")):
        found = detector(cv2.imread(str(path)))
        lines = [path.stem, str(len(found)), *(" ".join(f"{value:.4f}" for value in row) for row in found)]
        target = folder / path.parent.name / f"{path.stem}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
