"""AP of MXNet's face detectors on the WIDER FACE images of FACEDEPLOY_DATA, by MXNet itself. Run by hand:

    python3.8 -m venv mx && mx/bin/pip install mxnet==1.9.1 'numpy<1.24'
    python tests/reference/mxnet_nets.py mnet.25-symbol.json mnet.25-0000.params --mxnet mx/bin/python \\
        --json tests/reference/mxnet_nets.json

MXNet 1.9.1 does not install on current Pythons, so that a process of another one runs the net. Letterbox, anchors,
decoding and suppression are written here again, from InsightFace's and faster-mobile-retinaface's repositories. Score
above 0.02, NMS 0.4, the best 750.

mxnet_nets.json has what came out at 640 (495 images of wider_val_dev).
"""

import argparse
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from plain import evaluate

# Canvases come in as float32, all outputs go out as float32; their shapes are told first. With the default backend
# MXNet 1.9.1 fuses residual additions wrongly, so that one is off.
SERVER = """
import json, os, sys
os.environ["MXNET_SUBGRAPH_BACKEND"] = "NONE"
import mxnet as mx, numpy as np
symbol, params, side = sys.argv[1], sys.argv[2], int(sys.argv[3])
stored = mx.nd.load(params)
net = mx.sym.load(symbol)
shapes = dict(zip(net.list_outputs(), net.infer_shape(data=(1, 3, side, side))[1]))
print(json.dumps(shapes), flush=True)
own = {kind: {k.split(":", 1)[1]: v for k, v in stored.items() if k.startswith(kind)} for kind in ("arg", "aux")}
bound = net.simple_bind(mx.cpu(), data=(1, 3, side, side), grad_req="null")
bound.copy_params_from(own["arg"], own["aux"], allow_extra_params=True)
while True:
    data = sys.stdin.buffer.read(3 * side * side * 4)
    if not data:
        break
    for output in bound.forward(is_train=False, data=np.frombuffer(data, np.float32).reshape(1, 3, side, side)):
        sys.stdout.buffer.write(output.asnumpy().astype(np.float32).tobytes())
    sys.stdout.buffer.flush()
"""
SCALES = {32: (32, 16), 16: (8, 4), 8: (2, 1)}  # Of the anchors of a cell at each stride, in sides of 16 px.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("symbol", type=Path)
    parser.add_argument("params", type=Path)
    parser.add_argument("--mxnet", required=True, help="a Python that has MXNet 1.9.1")
    parser.add_argument("--size", type=int, default=640, help="side of the canvas, px")
    parser.add_argument("--json", type=Path, help="add the APs to this file")
    arguments = parser.parse_args()
    command = [arguments.mxnet, "-c", SERVER, arguments.symbol, arguments.params, arguments.size]
    evaluate_served(command, arguments.size, arguments.symbol.name.removesuffix("-symbol.json"), arguments.json)


def evaluate_served(command: list[object], side: int, name: str, results: Path | None) -> None:
    """`evaluate` the net that a process runs, as Server says."""
    with served(command) as server:
        evaluate(Net(server), side, f"{name}_{side}", results)


@contextmanager
def served(command: list[object]) -> Iterator["Server"]:
    """The net that a process runs until the block ends."""
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Server(process)
        process.stdin.close()


class Server:
    """A tensor (3, side, side) float32 -> the net's outputs, in its order, by a process that runs SERVER."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process
        self.shapes = json.loads(process.stdout.readline())

    def __call__(self, tensor: np.ndarray) -> list[np.ndarray]:
        self.process.stdin.write(np.ascontiguousarray(tensor).tobytes())
        self.process.stdin.flush()
        return [self._read(shape) for shape in self.shapes.values()]

    def _read(self, shape: list[int]) -> np.ndarray:
        size = int(np.prod(shape))
        return np.frombuffer(self.process.stdout.read(4 * size), np.float32).reshape(shape)


class Net:
    """A canvas -> all its anchors' boxes and scores."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def __call__(self, canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rgb = canvas[:, :, ::-1].astype(np.float32).transpose(2, 0, 1)
        outputs = dict(zip(self.server.shapes, self.server(rgb), strict=True))
        boxes, scores = [], []
        for stride, scales in SCALES.items():
            if f"face_rpn_bbox_pred_stride{stride}_output" not in outputs:
                continue
            delta = outputs[f"face_rpn_bbox_pred_stride{stride}_output"][0]
            probability = outputs[f"face_rpn_cls_prob_reshape_stride{stride}_output"][0]
            rows, columns = np.mgrid[: delta.shape[1], : delta.shape[2]]
            for anchor, scale in enumerate(scales):
                dx, dy, dw, dh = delta[4 * anchor : 4 * anchor + 4].astype(np.float64)
                side = 16 * scale
                x, y = dx * side + 7.5 + stride * columns, dy * side + 7.5 + stride * rows
                w, h = np.exp(dw) * side, np.exp(dh) * side
                corners = x - (w - 1) / 2, y - (h - 1) / 2, x + (w - 1) / 2, y + (h - 1) / 2
                boxes.append(np.stack(corners, axis=-1).reshape(-1, 4))
                scores.append(probability[len(scales) + anchor].ravel())
        return np.concatenate(boxes), np.concatenate(scores)


if __name__ == "__main__":
    main()
