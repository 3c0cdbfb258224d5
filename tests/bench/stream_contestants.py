"""What takes JPEG files to prediction files, as worker processes of bench_stream.py. Each waits for a line on its
standard input, goes through its files once, and answers with a line of JSON: the CPU seconds it took.

onnxruntime: plainly with OpenCV and numpy. OpenVINO: its preprocessing API, THROUGHPUT hint and AsyncInferQueue, images
read and laid on their canvas by OpenCV in threads. Both decode boxes by vectorized numpy, with OpenCV's NMS.
`facedeploy` does what `facedeploy run` does by default; `ladder` too, with the nearest canvas for each image.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

CONFIDENCE, NMS_THRESHOLD, TOP = 0.02, 0.4, 750
MEAN = (104.0, 117.0, 123.0)  # BGR.
STRIDES, MIN_SIZES, VARIANCES = (8, 16, 32), ((16, 32), (64, 128), (256, 512)), (0.1, 0.2)


def letterbox(image: np.ndarray, size: int) -> tuple[np.ndarray, float, int, int]:
    height, width = image.shape[:2]
    ratio = min(size / width, size / height)
    inner_w, inner_h = round(width * ratio), round(height * ratio)
    left, top = (size - inner_w) // 2, (size - inner_h) // 2
    canvas = np.zeros((size, size, 3), np.uint8)
    cv2.resize(image, (inner_w, inner_h), dst=canvas[top : top + inner_h, left : left + inner_w])
    return canvas, ratio, left, top


def priors(size: int) -> np.ndarray:
    rows = []
    for stride, sizes in zip(STRIDES, MIN_SIZES, strict=True):
        cells = -(-size // stride)
        rows += [
            ((x + 0.5) * stride / size, (y + 0.5) * stride / size, side / size, side / size)
            for y in range(cells)
            for x in range(cells)
            for side in sizes
        ]
    return np.array(rows, np.float32)


def decode(outputs: Sequence[np.ndarray], prior: np.ndarray, size: int) -> np.ndarray:
    """loc, conf, landmarks of one image -> (n, 15) x1 y1 x2 y2 score and landmarks, canvas px, best first."""
    loc, conf, points = (output[0] for output in outputs)
    keep = np.flatnonzero(conf[:, 1] > CONFIDENCE)
    loc, points, prior, score = loc[keep], points[keep], prior[keep], conf[keep, 1]
    center = prior[:, :2] + loc[:, :2] * VARIANCES[0] * prior[:, 2:]
    side = prior[:, 2:] * np.exp(loc[:, 2:] * VARIANCES[1])
    corner = (center - side / 2) * size
    side *= size
    marks = prior[:, None, :2] + points.reshape(-1, 5, 2) * VARIANCES[0] * prior[:, None, 2:]
    kept = cv2.dnn.NMSBoxes(np.hstack([corner, side]), score, CONFIDENCE, NMS_THRESHOLD)
    kept = np.asarray(kept, np.int64).ravel()[:TOP]
    boxes = np.hstack([corner, corner + side, score[:, None], marks.reshape(-1, 10) * size])
    return boxes[kept]


def write(out: Path, name: str, boxes: np.ndarray, ratio: float, left: int, top: int) -> None:
    boxes[:, [0, 2]] = (boxes[:, [0, 2]] - left) / ratio
    boxes[:, [1, 3]] = (boxes[:, [1, 3]] - top) / ratio
    lines = [name, str(len(boxes))]
    lines += [f"{x1} {y1} {x2 - x1} {y2 - y1} {score}" for x1, y1, x2, y2, score in boxes[:, :5].tolist()]
    file = out / f"{name}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")


def onnxruntime_pass(model: str, size: int, files: list[Path], out: Path) -> Callable[[], None]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    prior = priors(size)
    mean = np.array(MEAN, np.float32)

    def once() -> None:
        for file in files:
            canvas, *back = letterbox(cv2.imread(str(file)), size)
            tensor = np.ascontiguousarray((canvas.astype(np.float32) - mean).transpose(2, 0, 1))[None]
            outputs = session.run(None, {"input": tensor})
            write(out, f"{file.parent.name}/{file.stem}", decode(outputs, prior, size), *back)

    return once


def openvino_pass(model: str, size: int, files: list[Path], out: Path, precision: str) -> Callable[[], None]:
    import openvino
    from openvino.preprocess import PrePostProcessor

    core = openvino.Core()
    steps = PrePostProcessor(core.read_model(model))
    steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    steps.input().preprocess().convert_element_type(openvino.Type.f32).mean(list(MEAN))
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    config = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision}
    queue = openvino.AsyncInferQueue(core.compile_model(steps.build(), "CPU", config))
    prior = priors(size)

    def done(request, work: tuple) -> None:
        name, back = work
        outputs = [request.get_output_tensor(index).data for index in range(3)]
        write(out, name, decode(outputs, prior, size), *back)

    queue.set_callback(done)

    def read(file: Path) -> tuple:
        return file, letterbox(cv2.imread(str(file)), size)

    def once() -> None:
        with ThreadPoolExecutor(2) as pool:
            reading = []  # A few images ahead, so that memory stays bounded.
            left = iter(files)
            for file in left:
                reading.append(pool.submit(read, file))
                if len(reading) < 8:
                    continue
                submit(*reading.pop(0).result())
            for future in reading:
                submit(*future.result())
        queue.wait_all()

    def submit(file: Path, read: tuple) -> None:
        canvas, *back = read
        queue.start_async({0: canvas[None]}, (f"{file.parent.name}/{file.stem}", back))

    return once


def facedeploy_pass(
    prefix: str, files: list[Path], out: Path, canvas: str | None, instances: int, decoders: int | None
) -> Callable[[], None]:
    from facedeploy.cli.run import AT_ONCE
    from facedeploy.cli.writer import PredictionWriter
    from facedeploy.runtime.face_detector import FaceDetector
    from facedeploy.runtime.graph import Stage
    from facedeploy.runtime.memory import keep_freed
    from facedeploy.runtime.operator import Work

    keep_freed()
    detector = FaceDetector.from_artifact(prefix, canvas=canvas, instances=instances, decoders=decoders, threads=1)
    writer = Stage("write", [PredictionWriter(out)], joined=True)

    def once() -> None:
        works = (Work(f"{file.parent.name}/{file.stem}", file) for file in files)
        for work in detector.run_async(works, then=(writer,), at_once=AT_ONCE):
            if work.error is not None:
                raise work.error

    return once


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contestant", choices=("onnxruntime", "openvino", "facedeploy", "ladder"))
    parser.add_argument("model", help="the ONNX file, or the artifact's prefix")
    parser.add_argument("files", type=Path, help="a text file with one path a line")
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--instances", type=int, default=2)
    parser.add_argument("--decoders", type=int)
    arguments = parser.parse_args()
    files = [Path(line) for line in arguments.files.read_text().splitlines()]
    cv2.setNumThreads(1)
    match arguments.contestant:
        case "onnxruntime":
            once = onnxruntime_pass(arguments.model, arguments.size, files, arguments.out)
        case "openvino":
            once = openvino_pass(arguments.model, arguments.size, files, arguments.out, arguments.precision)
        case _:
            canvas = "nearest" if arguments.contestant == "ladder" else None
            options = canvas, arguments.instances, arguments.decoders
            once = facedeploy_pass(arguments.model, files, arguments.out, *options)
    print("ready", flush=True)
    for _ in sys.stdin:
        begun = time.process_time()
        once()
        print(json.dumps(time.process_time() - begun), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
