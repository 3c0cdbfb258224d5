"""AP of YuNet on the WIDER FACE images of FACEDEPLOY_DATA, by onnxruntime and a pipeline of its own. Run by hand:

    python tests/reference/yunet.py yunet_n_640_640.onnx --json tests/reference/yunet.json

Letterbox, decoding and suppression are written here again, the decoding from libfacedetection.train (YuNet's own) and
OpenCV's FaceDetectorYN. Score above 0.02, NMS 0.4, the best 750. The file's input is 640x640.

yunet.json has what came out (495 images of wider_val_dev).
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
from plain import evaluate

SIDE = 640
STRIDES = (8, 16, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("--json", type=Path, help="add the APs to this file")
    arguments = parser.parse_args()
    evaluate(Net(arguments.onnx), SIDE, f"yunet_{SIDE}", arguments.json)


class Net:
    """A canvas -> boxes and scores of all cells."""

    def __init__(self, onnx: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]

    def __call__(self, canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        blob = canvas.astype(np.float32).transpose(2, 0, 1)[None]  # BGR, 0..255.
        outputs = dict(zip(self.names, self.session.run(self.names, {"input": blob}), strict=True))
        boxes, scores = [], []
        for stride in STRIDES:
            cells = SIDE // stride
            face, there = (outputs[f"{kind}_{stride}"][0, :, 0].clip(0, 1) for kind in ("cls", "obj"))
            scores.append(np.sqrt(face * there))
            distance = outputs[f"bbox_{stride}"][0].astype(np.float64)
            for index, (dx, dy, log_w, log_h) in enumerate(distance):
                row, column = divmod(index, cells)
                x, y = (column + dx) * stride, (row + dy) * stride
                w, h = np.exp(log_w) * stride, np.exp(log_h) * stride
                boxes.append((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
        return np.array(boxes), np.concatenate(scores)


if __name__ == "__main__":
    main()
