"""Small ONNX graphs, compiled whole, compute what onnxruntime computes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from facedeploy.compiler.build import compile_model
from facedeploy.config.build_config import BuildConfig
from facedeploy.runtime.model import Model

Outputs = dict[str, np.ndarray]
Check = Callable[..., None]


class RandomGraph:
    """Grows a graph node by node; every tensor is (N, C, H, W) until `finish` gives each output a form of its own."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape = int(self.rng.integers(1, 3)), 3, *map(int, self.rng.integers(6, 25, 2))
        self.tensors = {"input": self.shape}
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}

    def grow(self, count: int) -> None:
        steps = [
            *[self.convolution, self.depthwise, self.pool, self.resize, self.concat, self.add],
            *[self.relu, self.leaky_relu, self.sigmoid, self.clip, self.transpose],
        ]
        for step in self.rng.permutation(np.resize(np.arange(len(steps)), count)):
            steps[step](*self.pick())

    def finish(self) -> list[str]:
        (name, shape), (other, other_shape), third = self.pick(), self.pick(), list(self.tensors)[-1]
        self.weights["flat"] = np.array([shape[0], -1])
        flat = self.emit("Reshape", [name, "flat"], (shape[0], int(np.prod(shape[1:]))))
        return [flat, self.emit("Softmax", [other], other_shape, axis=int(self.rng.integers(1, 4))), third]

    def pick(self) -> tuple[str, tuple[int, ...]]:
        """A tensor, more likely one of the last."""
        names = list(self.tensors)
        name = names[-1 - min(int(self.rng.exponential(1.5)), len(names) - 1)]
        return name, self.tensors[name]

    def emit(self, kind: str, inputs: list[str], shape: tuple[int, ...], **attributes: object) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        self.tensors[name] = shape
        return name

    def weight(self, *shape: int) -> str:
        name = f"weight_{len(self.weights)}"
        fan_in = max(1, int(np.prod(shape[1:])))
        self.weights[name] = self.rng.normal(0, fan_in**-0.5, shape).astype(np.float32)
        return name

    def convolution(self, name: str, shape: tuple[int, ...], groups: int = 1, channels: int | None = None) -> None:
        channels = channels or int(self.rng.integers(1, 20))
        kernel, stride = self.rng.integers(1, 4, 2), self.rng.integers(1, 3, 2)
        pads = self.rng.integers(1, 3, 4)  # A kernel of 3 fits then, whatever the image.
        inputs = [name, self.weight(channels, shape[1] // groups, *kernel)]
        if self.rng.random() < 0.7:
            inputs.append(self.weight(channels))
        sides = [(shape[2 + i] + pads[i] + pads[2 + i] - kernel[i]) // stride[i] + 1 for i in (0, 1)]
        attributes = {"kernel_shape": kernel.tolist(), "strides": stride.tolist(), "pads": pads.tolist()}
        self.emit("Conv", inputs, (shape[0], channels, *map(int, sides)), group=groups, **attributes)

    def depthwise(self, name: str, shape: tuple[int, ...]) -> None:
        self.convolution(name, shape, groups=shape[1], channels=shape[1])

    def pool(self, name: str, shape: tuple[int, ...]) -> None:
        kind = self.rng.choice(["MaxPool", "AveragePool"])
        sides = [(side + 2 - 3) // 2 + 1 for side in shape[2:]]
        attributes = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
        if kind == "AveragePool":
            attributes["count_include_pad"] = int(self.rng.integers(0, 2))
        self.emit(str(kind), [name], (*shape[:2], *sides), **attributes)

    def resize(self, name: str, shape: tuple[int, ...]) -> None:
        mode = str(self.rng.choice(["nearest", "linear"]))
        sizes = *shape[:2], shape[2] * 2, shape[3] * 2
        self.weights[f"sizes_{len(self.weights)}"] = np.array(sizes)
        how = {"nearest": ("asymmetric", "floor"), "linear": ("half_pixel", "round_prefer_floor")}[mode]
        attributes = {"mode": mode, "coordinate_transformation_mode": how[0], "nearest_mode": how[1]}
        self.emit("Resize", [name, "", "", list(self.weights)[-1]], sizes, **attributes)

    def concat(self, name: str, shape: tuple[int, ...]) -> None:
        same = [other for other, sides in self.tensors.items() if sides[2:] == shape[2:] and sides[0] == shape[0]]
        parts = [name, *(str(part) for part in self.rng.choice(same, 2))]
        channels = sum(self.tensors[part][1] for part in parts)
        self.emit("Concat", parts, (shape[0], channels, *shape[2:]), axis=1)

    def add(self, name: str, shape: tuple[int, ...]) -> None:
        same = [other for other, sides in self.tensors.items() if sides == shape]
        self.emit("Add", [name, str(self.rng.choice(same))], shape)

    def relu(self, name: str, shape: tuple[int, ...]) -> None:
        self.emit("Relu", [name], shape)

    def leaky_relu(self, name: str, shape: tuple[int, ...]) -> None:
        self.emit("LeakyRelu", [name], shape, alpha=0.1)

    def sigmoid(self, name: str, shape: tuple[int, ...]) -> None:
        self.emit("Sigmoid", [name], shape)

    def clip(self, name: str, shape: tuple[int, ...]) -> None:
        self.weights["low"], self.weights["high"] = np.float32(-0.5), np.float32(6)
        self.emit("Clip", [name, "low", "high"], shape)

    def transpose(self, name: str, shape: tuple[int, ...]) -> None:
        self.emit("Transpose", [name], (shape[0], shape[1], shape[3], shape[2]), perm=[0, 1, 3, 2])


def compile_and_run(
    model: onnx.ModelProto, image: np.ndarray, folder: Path, make_config: Callable[..., BuildConfig], **options: str
) -> Outputs:
    onnx.save(model, folder / "model.onnx")
    artifact = compile_model(make_config(folder / "model.onnx", folder, image.shape, **options))
    opened = Model.open(artifact.prefix)
    for spec, declared in zip(opened.manifest.outputs, model.graph.output, strict=True):
        assert spec.name == declared.name
    outputs = opened.infer(image)
    assert [tuple(spec.shape) for spec in opened.manifest.outputs] == [output.shape for output in outputs.values()]
    return outputs


@pytest.mark.parametrize("seed", range(10))
def test_random_graph_computes_what_onnxruntime_computes(
    seed: int, tmp_path: Path, make_graph: Check, make_config: Check, run_onnx: Check, check_close: Check
) -> None:
    graph = RandomGraph(seed)
    graph.grow(14)
    model = make_graph(graph.nodes, graph.finish(), graph.weights, graph.shape)
    image = graph.rng.normal(0, 1, graph.shape).astype(np.float32)
    check_close(compile_and_run(model, image, tmp_path, make_config), run_onnx(model, image))


NODES = {
    "input as it is": ([("Identity", ["input"], "y", {})], ["y"]),
    "an output twice": ([("Relu", ["input"], "y", {}), ("Neg", ["y"], "z", {})], ["z", "y"]),
    "the input as an output": ([("Relu", ["input"], "y", {})], ["y", "input"]),
    "a constant as an output": ([("Relu", ["ramp"], "y", {}), ("Relu", ["input"], "z", {})], ["y", "z"]),
    "a scalar output": ([("ReduceMax", ["input"], "y", {"keepdims": 0})], ["y"]),
    "a gate ahead of what it weighs": (
        [
            ("ReduceMean", ["input"], "mean", {"axes": [0, 1, 2], "keepdims": 0}),
            ("Sigmoid", ["mean"], "gate", {}),
            ("Conv", ["input", "kernel"], "y", {"pads": [1, 1, 1, 1]}),
            ("Mul", ["y", "gate"], "z", {}),
        ],
        ["z"],
    ),
    "one kernel for two convolutions": (
        [
            ("Conv", ["input", "kernel"], "y", {"pads": [1, 1, 1, 1]}),
            ("Conv", ["y", "kernel"], "z", {"strides": [2, 2]}),
        ],
        ["z"],
    ),
}
CONSTANTS = {
    "ramp": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "kernel": np.random.default_rng(0).normal(0, 0.2, (3, 3, 3, 3)).astype(np.float32),
}


@pytest.mark.parametrize("name", NODES)
def test_odd_graph_computes_what_onnxruntime_computes(
    name: str, tmp_path: Path, make_graph: Check, make_config: Check, run_onnx: Check, check_close: Check
) -> None:
    nodes, outputs = NODES[name]
    used = {each for _, inputs, *_ in nodes for each in inputs}
    model = make_graph(
        [helper.make_node(kind, inputs, [output], **attributes) for kind, inputs, output, attributes in nodes],
        outputs,
        {key: array for key, array in CONSTANTS.items() if key in used},
        (1, 3, 7, 9),
    )
    image = np.random.default_rng(1).normal(0, 1, (1, 3, 7, 9)).astype(np.float32)
    check_close(compile_and_run(model, image, tmp_path, make_config), run_onnx(model, image))


def test_open_batch_and_size_become_those_of_the_config(
    tmp_path: Path, make_graph: Check, make_config: Check, run_onnx: Check, check_close: Check
) -> None:
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["y"], ["z"]),
    ]
    model = make_graph(nodes, ["z"], {"kernel": CONSTANTS["kernel"]}, ("N", 3, "H", "W"))
    image = np.random.default_rng(1).normal(0, 1, (3, 3, 10, 8)).astype(np.float32)
    check_close(compile_and_run(model, image, tmp_path, make_config), run_onnx(model, image))


@pytest.mark.parametrize("level", ["x86-64-v2", "x86-64-v3", '{"kind": "llvm", "mcpu": "haswell"}'])
def test_graph_computes_the_same_for_older_levels(
    level: str, tmp_path: Path, make_graph: Check, make_config: Check, run_onnx: Check, check_close: Check
) -> None:
    graph = RandomGraph(100)
    graph.grow(8)
    model = make_graph(graph.nodes, graph.finish(), graph.weights, graph.shape)
    image = graph.rng.normal(0, 1, graph.shape).astype(np.float32)
    check_close(compile_and_run(model, image, tmp_path, make_config, target=level), run_onnx(model, image))
