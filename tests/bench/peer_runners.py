"""The peers as functions that infer once. As a program it tries a peer, in a process that may crash:

python peer_runners.py openvino MODEL.onnx --precision bf16 --size 320

prints the fewest milliseconds that a run took.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TRIAL_SECONDS, TRIAL_RUNS = 0.6, 5  # How long a trial runs, and how often at least.
PRECISIONS = {"onnxruntime": ("f32",), "openvino": ("f32", "bf16", "f16")}


@dataclass(frozen=True)
class Peer:
    """A library that runs a file; `precision` is that of floats, `recipe` names what made the file QDQ, if it is."""

    library: str
    file: Path
    precision: str = "f32"
    recipe: str = ""

    @property
    def group(self) -> str:
        """What it is compared within."""
        return f"{self.library} {'int8' if self.recipe else 'float'}"

    @property
    def variant(self) -> str:
        """What it is called among its group."""
        if not self.recipe:
            return self.precision
        return self.recipe if self.precision == "f32" else f"{self.recipe}, else {self.precision}"

    @property
    def name(self) -> str:
        return f"{self.group} {self.variant}" if self.recipe else f"{self.library} {self.precision}"


def random_tensor(size: int) -> np.ndarray:
    return (np.random.default_rng(0).random((1, 3, size, size), np.float32) - 0.5) * 255


def make_runner(peer: Peer, tensor: np.ndarray, threads: int) -> Callable[[], list]:
    """Numpy in, numpy out. Raises ImportError without the library, its own errors where it refuses the file."""
    if peer.library == "onnxruntime":
        return _onnxruntime_runner(peer.file, tensor, threads)
    return _openvino_runner(peer.file, tensor, threads, peer.precision)


def _onnxruntime_runner(onnx: Path, tensor: np.ndarray, threads: int) -> Callable[[], list]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    return lambda: session.run(None, {entry.name: tensor})


def _openvino_runner(onnx: Path, tensor: np.ndarray, threads: int, precision: str) -> Callable[[], list]:
    import openvino

    config = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(str(onnx), "CPU", config)
    taken = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if taken != precision:
        raise ValueError(f"this CPU has no {precision}, OpenVINO would run {taken}")
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(tensor))

    def run() -> list:
        request.infer()
        return [request.get_output_tensor(index).data for index in range(len(compiled.outputs))]

    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=PRECISIONS)
    parser.add_argument("file", type=Path)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    peer = Peer(arguments.library, arguments.file, arguments.precision)
    run = make_runner(peer, random_tensor(arguments.size), arguments.threads)
    run()
    times: list[float] = []
    while len(times) < TRIAL_RUNS or sum(times) < TRIAL_SECONDS:
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    print(1000 * min(times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
