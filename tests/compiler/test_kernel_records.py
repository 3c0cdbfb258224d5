"""What the compiler tells of its kernels, held against the ONNX graph."""

from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from facedeploy.artifact.manifest import Kernel
from facedeploy.artifact.store import Artifact
from facedeploy.compiler.frontend.onnx_file import import_onnx
from facedeploy.compiler.graph.attributes import kernels_of
from facedeploy.compiler.pipeline import phases, run_phases
from facedeploy.compiler.target import Target
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.export.export_model import ExportReport
from facedeploy.quantize.layers import convolution_names

MakeGraph = Callable[..., onnx.ModelProto]
Compile = Callable[[onnx.ModelProto], tuple[Kernel, ...]]


def multiply_adds(model: onnx.ModelProto) -> dict[str, int]:
    """Of each convolution by name, as ONNX's own shape inference has them."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    weights = {tensor.name: tensor.dims for tensor in graph.initializer}
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output)
    }
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    return {
        name: prod(shapes[node.output[0]]) * prod(weights[node.input[1]][1:])
        for name, node in zip(convolution_names(model), convolutions, strict=True)
    }


@pytest.fixture(scope="session")
def kernels(target: Target) -> Compile:
    """The records of a model with one input, from the passes alone: no code is made."""

    def run(model: onnx.ModelProto) -> tuple[Kernel, ...]:
        shape = tuple(side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim)
        module, _ = import_onnx(model, TensorSpec("input", shape, "float32"), Path("net.onnx"))
        some = tuple(phase for phase in phases(target) if phase.name in ("simplify", "convolutions"))
        for _, done in run_phases(module, some, target):
            module = done
        return kernels_of(module)

    return run


class Net:
    """A net of convolutions, node by node."""

    def __init__(self, named: bool = True) -> None:
        self.named = named
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}

    def add(self, kind: str, *inputs: str, **attributes: object) -> str:
        output = f"{kind}_{len(self.nodes)}"
        name = f"/{output}" if self.named else ""
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=name, **attributes))
        return output

    def conv(self, source: str, inputs: int, outputs: int, kernel: int = 3, group: int = 1, stride: int = 1) -> str:
        weight = f"weight_{len(self.nodes)}"
        shape = outputs, inputs // group, kernel, kernel
        self.weights[weight] = np.random.default_rng(len(self.nodes)).normal(0, 0.2, shape).astype(np.float32)
        pads = [kernel // 2] * 4
        return self.add("Conv", source, weight, group=group, pads=pads, strides=[stride] * 2)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.sampled_from(["dense", "separable", "parallel", "residual", "strided"]), min_size=1, max_size=5),
    channels=st.sampled_from([8, 16, 20, 32]),
    size=st.integers(5, 16),
    batch=st.integers(1, 2),
    named=st.booleans(),
)
def test_kernels_cover_every_convolution_once_with_its_multiply_adds(
    kernels: Compile, make_graph: MakeGraph, steps: list[str], channels: int, size: int, batch: int, named: bool
) -> None:
    net = Net(named)
    tensor = net.conv("input", 3, channels)
    for step in steps:
        match step:
            case "dense":
                tensor = net.add("Relu", net.conv(tensor, channels, channels))
            case "separable":
                depth = net.add("Relu", net.conv(tensor, channels, channels, group=channels))
                tensor = net.add("LeakyRelu", net.conv(depth, channels, channels, kernel=1), alpha=0.1)
            case "parallel":
                parts = [net.conv(tensor, channels, channels, kernel=1) for _ in range(2)]
                tensor = net.conv(net.add("Relu", net.add("Concat", *parts, axis=1)), 2 * channels, channels)
            case "residual":
                tensor = net.add("Add", tensor, net.conv(net.add("Relu", tensor), channels, channels))
            case "strided":
                tensor = net.conv(tensor, channels, channels, stride=2)
    model = make_graph(net.nodes, [tensor], net.weights, (batch, 3, size, size))
    expected = multiply_adds(model)
    found = kernels(model)
    assert sorted(layer for kernel in found for layer in kernel.layers) == sorted(expected)
    assert all(name.startswith("/") == named for name in expected)
    for kernel in found:
        assert kernel.multiply_adds == sum(expected[layer] for layer in kernel.layers)
        assert kernel.reason


def test_records_of_a_whole_net_are_in_its_manifest(net_artifact: Artifact, exported_net: ExportReport) -> None:
    model = onnx.load(exported_net.onnx.path)
    expected = multiply_adds(model)
    found = net_artifact.manifest.base.kernels
    assert len(expected) == 56
    assert len(found) < len(expected)
    assert sorted(layer for kernel in found for layer in kernel.layers) == sorted(expected)
    assert [kernel.multiply_adds for kernel in found] == [
        sum(expected[layer] for layer in kernel.layers) for kernel in found
    ]
    (heads,) = (kernel for kernel in found if kernel.name == "heads")
    assert len(heads.layers) == 9


def test_kernel_that_two_convolutions_share_has_a_record_for_each_call(kernels: Compile, make_graph: MakeGraph) -> None:
    net = Net()
    tensor = net.conv("input", 3, 16)
    for _ in range(3):
        tensor = net.conv(tensor, 16, 16)
    found = kernels(make_graph(net.nodes, [tensor], net.weights, (1, 3, 8, 12)))
    assert [kernel.layers for kernel in found] == [("/Conv_0",), ("/Conv_1",), ("/Conv_2",), ("/Conv_3",)]
    # The last one's output has no halo, so that its function is another.
    assert found[1].name == found[2].name
    assert len({kernel.name for kernel in found}) == 3


def test_convolution_that_tvm_keeps_has_no_record_and_the_others_keep_their_names(
    kernels: Compile, make_graph: MakeGraph
) -> None:
    net = Net()
    last = net.conv(net.conv(net.conv("input", 3, 16), 16, 16, group=4), 16, 16)
    found = kernels(make_graph(net.nodes, [last], net.weights, (1, 3, 8, 8)))
    assert [kernel.layers for kernel in found] == [("/Conv_0",), ("/Conv_2",)]


def test_names_that_several_nodes_have_give_way_to_their_outputs(kernels: Compile, make_graph: MakeGraph) -> None:
    net = Net()
    last = net.conv(net.conv("input", 3, 16), 16, 8)
    for node in net.nodes:
        node.name = "same"
    found = kernels(make_graph(net.nodes, [last], net.weights, (1, 3, 8, 8)))
    assert [kernel.layers for kernel in found] == [("Conv_0",), ("Conv_1",)]


def test_kernels_have_no_names_where_the_model_has_more_convolutions_than_are_left(
    kernels: Compile, make_graph: MakeGraph
) -> None:
    net = Net()
    net.conv("input", 3, 8)  # Nobody reads it.
    last = net.conv("input", 3, 16)
    found = kernels(make_graph(net.nodes, [last], net.weights, (1, 3, 8, 8)))
    assert [kernel.layers for kernel in found] == [()]
    assert found[0].multiply_adds == 16 * 8 * 8 * 27


def test_model_without_convolutions_has_no_records(kernels: Compile, make_graph: MakeGraph) -> None:
    assert kernels(make_graph([helper.make_node("Relu", ["input"], ["y"])], ["y"], {}, (1, 3, 8, 8))) == ()
