"""Pooling, activations and resizing between convolutions: graphs before and after, and what they compute."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from differential import BOUND, worst_difference
from net import Net, kinds

from facedeploy.compiler.graph.blocked_operators import blocked_operators
from facedeploy.compiler.graph.nodes import Convolution, Graph, Interpolation, Part
from facedeploy.compiler.passes.fold_scaling import fold_scaling
from facedeploy.compiler.passes.fuse_epilogue import fuse_epilogue
from facedeploy.compiler.passes.remove_concatenation import remove_concatenation
from facedeploy.compiler.passes.split_concatenation import split_concatenation
from facedeploy.compiler.passes.swap_pooling import swap_pooling
from facedeploy.compiler.target import Target

Import = Callable[..., Graph]
MakeModel = Callable[..., onnx.ModelProto]
PADDED = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
COUNTED = {**PADDED, "count_include_pad": 1}


def crelu(net: Net, channels: int) -> str:
    value = net.conv("input", 16, channels)
    return net.add("Relu", net.add("Concat", value, net.add("Neg", value), axis=1))


def check(make_graph: MakeModel, net: Net, outputs: list[str], target: Target) -> None:
    image = np.random.default_rng(1).normal(0, 1, (1, 16, 9, 11)).astype(np.float32)
    assert worst_difference(make_graph(net.nodes, outputs, net.weights, image.shape), image, target) <= BOUND


@pytest.mark.parametrize(
    ("steps", "pads", "left"),
    [
        (("Sub", "Div"), 0, []),
        (("Mul", "Add"), 0, []),
        (("Add", "Mul"), 1, ["relax.add"]),
        (("Div",), 1, []),
        (("Mul", "Sub"), 1, ["relax.multiply", "relax.subtract"]),
    ],
)
def test_scaling_in_front_of_a_convolution_goes(
    imported: Import, make_graph: MakeModel, target: Target, steps: tuple[str, ...], pads: int, left: list[str]
) -> None:
    net, value = Net(), "input"
    for index, step in enumerate(steps):
        numbers = np.random.default_rng(index).uniform(0.5, 2, (1, 16, 1, 1)).astype(np.float32)
        value = net.add(step, value, net.constant(numbers))
    last = net.conv(value, 16, 8)
    net.nodes[-1].attribute[-1].ints[:] = [pads] * 4
    graph = imported(net, [last])
    fold_scaling(graph)
    fuse_epilogue(graph)
    assert kinds(graph) == [*left, "Convolution"]
    check(make_graph, net, [last], target)


def test_scaling_that_something_else_reads_stays(imported: Import) -> None:
    net = Net()
    scaled = net.add("Mul", "input", net.constant(np.full((1, 16, 1, 1), 3, np.float32)))
    graph = imported(net, [net.conv(scaled, 16, 8), net.add("Relu", scaled)])
    fold_scaling(graph)
    assert kinds(graph)[0] == "relax.multiply"


def test_pointwise_convolution_runs_before_the_average_that_it_reads(
    imported: Import, make_graph: MakeModel, target: Target
) -> None:
    net = Net()
    last = net.add("Relu", net.conv(net.add("AveragePool", "input", **COUNTED), 16, 5, kernel=1))
    graph = imported(net, [last])
    swap_pooling(graph)
    fuse_epilogue(graph)
    assert kinds(graph) == ["Convolution", "Convolution"]
    point, averages = (node for node in graph.nodes if isinstance(node, Convolution))
    assert (point.pointwise, averages.depthwise) == (True, True)
    assert (point.bias == 0).all()
    assert np.array_equal(averages.bias, net.weights["constant_1"])
    assert (averages.slopes == 0).all()
    assert np.allclose(averages.weights, 1 / 9)
    check(make_graph, net, [last], target)


@pytest.mark.parametrize(
    ("pooling", "outputs", "kernel"),
    [
        (PADDED, 5, 1),  # A border's averages are of fewer pixels.
        ({**COUNTED, "strides": [2, 2]}, 5, 1),
        (COUNTED, 16, 1),
        (COUNTED, 5, 3),
    ],
    ids=["uncounted", "strided", "no fewer channels", "3x3"],
)
def test_average_stays_in_front(imported: Import, pooling: dict[str, object], outputs: int, kernel: int) -> None:
    net = Net()
    last = net.conv(net.add("AveragePool", "input", **pooling), 16, outputs, kernel=kernel)
    graph = imported(net, [last])
    before = kinds(graph)
    swap_pooling(graph)
    assert kinds(graph) == before


def test_activation_and_pooling_of_a_concatenation_become_those_of_its_parts(
    imported: Import, make_graph: MakeModel, target: Target
) -> None:
    net = Net()
    both = crelu(net, 16)
    pooled = net.add("MaxPool", both, **PADDED, strides=[2, 2])
    outputs = [net.conv(pooled, 32, 8), net.conv(both, 32, 16, kernel=1)]
    graph = imported(net, outputs)
    split_concatenation(graph)
    fuse_epilogue(graph)
    remove_concatenation(graph)
    assert sorted(kinds(graph)) == sorted(
        ["Convolution"] * 3 + ["relax.negative"] + ["relax.nn.relu"] * 2 + ["relax.nn.max_pool2d"] * 2
    )
    made = dict.fromkeys(kinds(graph), ())
    for kind, node in zip(kinds(graph), graph.nodes, strict=True):
        made[kind] += (*node.outputs,)
    strided, pointwise = (graph.producer(value) for value in graph.outputs)
    assert isinstance(strided, Convolution)
    assert isinstance(pointwise, Convolution)
    assert strided.sources == [Part(value, 0, 16) for value in made["relax.nn.max_pool2d"]]
    assert pointwise.sources == [Part(value, 0, 16) for value in made["relax.nn.relu"]]
    check(make_graph, net, outputs, target)


@pytest.mark.parametrize("case", ["output", "part blocks", "other reader"])
def test_concatenation_that_something_else_reads_stays_whole(
    imported: Import, make_graph: MakeModel, target: Target, case: str
) -> None:
    net = Net()
    channels = 12 if case == "part blocks" else 16
    both = crelu(net, channels)
    outputs = [net.conv(both, 2 * channels, 8)]
    outputs += {"output": [both], "other reader": [net.add("Softmax", both, axis=1)]}.get(case, [])
    graph = imported(net, outputs)
    before = kinds(graph)
    split_concatenation(graph)
    assert kinds(graph) == before
    check(make_graph, net, outputs, target)


@pytest.mark.parametrize("how", ["half_pixel", "asymmetric", "pytorch_half_pixel", "align_corners"])
@pytest.mark.parametrize("sides", [(18, 22), (13, 5), (9, 2)])
def test_linear_resizing_between_convolutions_is_blocked(
    imported: Import, make_graph: MakeModel, target: Target, how: str, sides: tuple[int, int]
) -> None:
    net = Net()
    sizes = net.constant(np.array([1, 16, *sides]))
    options = {"mode": "linear", "coordinate_transformation_mode": how}
    resized = net.add("Resize", net.conv("input", 16, 16), "", "", sizes, **options)
    outputs = [net.conv(net.add("Mul", resized, resized), 16, 8)]
    graph = imported(net, outputs, (1, 16, 9, 11))
    fuse_epilogue(graph)
    (node,) = (node for node in graph.nodes if isinstance(node, Interpolation))
    assert node in blocked_operators(graph)
    check(make_graph, net, outputs, target)


def test_cubic_resizing_is_an_operator(imported: Import) -> None:
    net = Net()
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    graph = imported(net, [net.conv(net.add("Resize", net.conv("input", 16, 16), "", scales, mode="cubic"), 16, 8)])
    assert "relax.image.resize2d" in kinds(graph)
    assert not any(isinstance(node, Interpolation) for node in graph.nodes)
