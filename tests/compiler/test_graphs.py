"""Small ONNX graphs, compiled whole, compute what onnxruntime computes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from differential import BOUND, worst_difference
from onnx import helper
from random_graph import RandomGraph
from runner import targets

from facedeploy.compiler.build import compile_model
from facedeploy.config.build_config import BuildConfig
from facedeploy.runtime.model import Model

Outputs = dict[str, np.ndarray]
Check = Callable[..., None]
TARGETS = targets()


def compile_and_run(
    model: onnx.ModelProto, image: np.ndarray, folder: Path, make_config: Callable[..., BuildConfig], **options: str
) -> Outputs:
    onnx.save(model, folder / "model.onnx")
    artifact = compile_model(make_config(folder / "model.onnx", folder, image.shape, **options))
    opened = Model.open(artifact.prefix)
    for spec, declared in zip(opened.manifest.base.outputs, model.graph.output, strict=True):
        assert spec.name == declared.name
    outputs = opened.infer(image)
    assert [tuple(spec.shape) for spec in opened.manifest.base.outputs] == [output.shape for output in outputs.values()]
    return outputs


@pytest.mark.parametrize("seed", range(50))
def test_random_graph_computes_what_onnxruntime_computes_on_every_level(seed: int) -> None:
    graph = RandomGraph(seed)
    model = graph.model(steps=2)
    image = graph.rng.normal(0, 1, graph.shape).astype(np.float32)
    assert worst_difference(model, image, TARGETS[seed % len(TARGETS)]) <= BOUND


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
    level: str, tmp_path: Path, make_config: Check, run_onnx: Check, check_close: Check
) -> None:
    # A config's image has three channels.
    graph = next(graph for seed in range(100, 200) if (graph := RandomGraph(seed)).shape[1] == 3)
    model = graph.model(steps=4)
    image = graph.rng.normal(0, 1, graph.shape).astype(np.float32)
    check_close(compile_and_run(model, image, tmp_path, make_config, target=level), run_onnx(model, image))
