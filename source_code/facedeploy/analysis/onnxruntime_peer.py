"""onnxruntime as a peer: its profile is a file of events."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.analysis.peer import WARMUP, PeerNode, microseconds
from facedeploy.core.requirement import require
from facedeploy.quantize.layers import convolution_names

# How onnxruntime names what its graph optimizations make, and what its profiler appends.
BLOCKED, FUSED, TIMED = "_nchwc", "fused ", "_kernel_time"


class OnnxruntimePeer:
    """A session on the CPU with `threads` threads, float32, all of its graph optimizations on."""

    def __init__(self, file: Path, model: Any, tensor: npt.NDArray[np.float32], threads: int) -> None:
        """`model` is the onnx.ModelProto in `file`; `tensor` is its one input. Raises DependencyError."""
        onnxruntime = require("onnxruntime", "bench", "--versus onnxruntime")
        self.version = str(onnxruntime.__version__)
        self._layers = _LayerNames(model)
        self._folder = TemporaryDirectory()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(self._folder.name) / "profile")
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self._inputs = {self._session.get_inputs()[0].name: tensor}
        self._counts: list[bool] = []  # Of each run, whether it does.

    def round(self, runs: int) -> list[float]:
        """Warm up, then run so often; the microseconds of each call."""
        self._counts += [False] * WARMUP + [True] * runs
        times = [microseconds(lambda: self._session.run(None, self._inputs)) for _ in range(WARMUP + runs)]
        return times[WARMUP:]

    def nodes(self) -> list[PeerNode]:
        """The median of each node over all rounds. Ends the session's profiling."""
        with self._folder:
            events = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))
        times: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        counts = iter(self._counts)
        counted = next(counts)
        for event in events:
            if event["name"] == "model_run":  # It is noted when the run ends.
                counted = next(counts, False)
            if counted and event["cat"] == "Node" and event["name"].endswith(TIMED):
                arguments = event["args"]
                name = event["name"].removesuffix(TIMED)
                times[name, arguments["op_name"], arguments["node_index"]].append(float(event["dur"]))
        return [
            PeerNode(name, kind, self._layers.of(name) if "Conv" in kind else (), median(samples))
            for (name, kind, _), samples in times.items()
        ]


class _LayerNames:
    """Which convolution of an ONNX graph a node of onnxruntime's optimized graph is.

    One that keeps its form keeps its name. One in onnxruntime's blocked layout is called after its output, and that is
    the output of whatever has been fused into it.
    """

    def __init__(self, model: Any) -> None:
        nodes = model.graph.node
        convolutions = [node for node in nodes if node.op_type == "Conv"]
        self._layers = dict(zip((node.output[0] for node in convolutions), convolution_names(model), strict=True))
        self._names = set(self._layers.values())
        self._producers = {output: node for node in nodes for output in node.output}

    def of(self, name: str) -> tuple[str, ...]:
        """The convolution's name in a tuple; empty where it is not certain."""
        plain = name.removeprefix(FUSED)
        if plain in self._names:
            return (plain,)
        found = self._convolutions_behind(plain.removesuffix(BLOCKED))
        return tuple(found) if len(found) == 1 else ()

    def _convolutions_behind(self, tensor: str) -> set[str]:
        """The nearest convolutions that a tensor is made of."""
        found, seen, left = set(), {tensor}, [tensor]
        while left:
            each = left.pop()
            if each in self._layers:
                found.add(self._layers[each])
            elif each in self._producers:
                fresh = [source for source in self._producers[each].input if source not in seen]
                seen.update(fresh)
                left += fresh
        return found
