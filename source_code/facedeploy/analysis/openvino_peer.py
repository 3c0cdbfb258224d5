"""OpenVINO as a peer: its compiled model tells which layers each node is made of."""

from collections import defaultdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.analysis.peer import WARMUP, PeerNode, microseconds
from facedeploy.core.requirement import require
from facedeploy.quantize.layers import convolution_names


class OpenvinoPeer:
    """A request on the CPU with `threads` threads, float32, made for latency."""

    def __init__(self, file: Path, model: Any, tensor: npt.NDArray[np.float32], threads: int) -> None:
        """`model` is the onnx.ModelProto in `file`; `tensor` is its one input. Raises DependencyError."""
        openvino = require("openvino", "bench", "--versus openvino")
        self.version = str(openvino.__version__).split("-")[0]
        # What makes an output of the model is called after the output, all else as in the file.
        outputs = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
        names = convolution_names(model)
        self._layers = dict(zip(outputs, names, strict=True)) | {name: name for name in names}
        source = openvino.Core().read_model(str(file))
        source.reshape(list(tensor.shape))
        self._compile = partial(
            openvino.Core().compile_model,
            source,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",
                "INFERENCE_NUM_THREADS": threads,
                "PERFORMANCE_HINT": "LATENCY",
                "PERF_COUNT": True,
            },
        )
        self._tensor = openvino.Tensor(tensor)
        self._originals: dict[str, str] = {}
        self._times: dict[tuple[str, str], list[float]] = defaultdict(list)

    def round(self, runs: int) -> list[float]:
        """Warm up, then run so often; the microseconds of each call.

        OpenVINO has whole microseconds, averages over all runs since a model was compiled: the time of the n-th run is
        n averages less n - 1 of the one before, to n microseconds. So each round compiles the model afresh.
        """
        compiled = self._compile()
        self._originals = {
            str(node.get_friendly_name()): str(node.get_rt_info()["originalLayersNames"].value)
            for node in compiled.get_runtime_model().get_ops()
        }
        request = compiled.create_infer_request()
        request.set_input_tensor(self._tensor)
        calls = []
        totals: dict[tuple[str, str], float] = defaultdict(float)
        for count in range(1, WARMUP + runs + 1):
            calls.append(microseconds(request.infer))
            for entry in request.get_profiling_info():
                if entry.status.name == "EXECUTED":
                    node = str(entry.node_name), str(entry.node_type)
                    # An average is rounded down, by half a microsecond on average.
                    total = count * entry.real_time.total_seconds() * 1e6 + (count - 1) / 2
                    if count > WARMUP:
                        self._times[node].append(total - totals[node])
                    totals[node] = total
        return calls[WARMUP:]

    def nodes(self) -> list[PeerNode]:
        """The median of each node over all rounds."""
        return [
            PeerNode(name, kind, self._layers_of(name), max(0.0, median(times)))
            for (name, kind), times in self._times.items()
        ]

    def _layers_of(self, name: str) -> tuple[str, ...]:
        originals = self._originals.get(name, "").split(",")
        return tuple(self._layers[original] for original in originals if original in self._layers)
