"""AP of exported PyTorch nets on the WIDER FACE images of FACEDEPLOY_DATA, by a pipeline of its own. Run by hand:

    python tests/reference/pytorch_nets.py slim slim_Final.pth --json tests/reference/pytorch_nets.json

Exports the checkpoint, runs the ONNX file in onnxruntime on one thread, and writes predictions that `facedeploy eval`
reads. Letterbox, priors, decoding and suppression are written here again, from the nets' own repositories, so that a
wrong prior or a swapped channel in the package shows in the AP. Score above 0.02, NMS 0.4, the best 750.

pytorch_nets.json has what came out at 640 (495 images of wider_val_dev, about five minutes a net). lightDSFD's own
figures are 0.891, 0.864, 0.469 (all 3,226 images, not resized).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from plain import evaluate, facedeploy

# Stride -> sizes of the priors of a cell, px; width and height of each as multiples of the size.
SLIM = ({8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}, (1.0, 1.0))
DSFD = ({4: (16,), 8: (32,), 16: (64,), 32: (128,), 64: (256,), 128: (512,)}, (1.5**-0.5, 1.5**0.5))
RETINAFACE = ({8: (16, 32), 16: (64, 128), 32: (256, 512)}, (1.0, 1.0))
PRIORS = {
    "mobilenet0.25": RETINAFACE,
    "mobilenet0.25_relu": RETINAFACE,
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
        net = Net(Path(folder) / f"{arguments.net}_{arguments.size}.onnx", arguments.net, arguments.size)
        evaluate(net, arguments.size, f"{arguments.net}_{arguments.size}", arguments.json)


class Net:
    """A canvas -> all its priors' boxes and scores."""

    def __init__(self, onnx: Path, net: str, side: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
        self.side = side
        self.priors = priors(*PRIORS[net], side)

    def __call__(self, canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        blob = (canvas.astype(np.float32) - (104, 117, 123)).astype(np.float32).transpose(2, 0, 1)[None]
        loc, conf = self.session.run(["loc", "conf"], {"input": blob})
        encoded, prior = loc[0].astype(np.float64), self.priors
        center = prior[:, :2] + encoded[:, :2] * 0.1 * prior[:, 2:]
        size = prior[:, 2:] * np.exp(encoded[:, 2:] * 0.2)
        return np.hstack([center - size / 2, center + size / 2]) * self.side, conf[0, :, 1]


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


if __name__ == "__main__":
    main()
