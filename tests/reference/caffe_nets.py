"""AP of InsightFace's mnet.25 in Caffe on the WIDER FACE images of FACEDEPLOY_DATA, by OpenCV 4. Run by hand:

    python -m venv cv4 && cv4/bin/pip install 'opencv-python-headless<5'
    python tests/reference/caffe_nets.py mnet25.prototxt mnet25.caffemodel --opencv cv4/bin/python \\
        --json tests/reference/caffe_nets.json

OpenCV 5 reads Caffe's files no more, so that a process of another Python runs the net. Anchors and decoding are those
of mxnet_nets.py, which this net was converted from. Score above 0.02, NMS 0.4, the best 750.

caffe_nets.json has what came out at 640 (495 images of wider_val_dev).
"""

import argparse
from pathlib import Path

from mxnet_nets import evaluate_served

# Canvases come in as float32, all outputs go out as float32; their shapes are told first, by MXNet's names.
SERVER = """
import json, sys
import cv2, numpy as np
prototxt, caffemodel, side = sys.argv[1], sys.argv[2], int(sys.argv[3])
net = cv2.dnn.readNetFromCaffe(prototxt, caffemodel)
names = net.getUnconnectedOutLayersNames()
def forward(data):
    net.setInput(data)
    return net.forward(names)
outputs = forward(np.zeros((1, 3, side, side), np.float32))
print(json.dumps({name + "_output": output.shape for name, output in zip(names, outputs)}), flush=True)
while True:
    data = sys.stdin.buffer.read(3 * side * side * 4)
    if not data:
        break
    for output in forward(np.frombuffer(data, np.float32).reshape(1, 3, side, side)):
        sys.stdout.buffer.write(output.astype(np.float32).tobytes())
    sys.stdout.buffer.flush()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prototxt", type=Path)
    parser.add_argument("caffemodel", type=Path)
    parser.add_argument("--opencv", required=True, help="a Python that has OpenCV 4")
    parser.add_argument("--size", type=int, default=640, help="side of the canvas, px")
    parser.add_argument("--json", type=Path, help="add the APs to this file")
    arguments = parser.parse_args()
    command = [arguments.opencv, "-c", SERVER, arguments.prototxt, arguments.caffemodel, arguments.size]
    evaluate_served(command, arguments.size, arguments.caffemodel.stem, arguments.json)


if __name__ == "__main__":
    main()
