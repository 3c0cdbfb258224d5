"""Each graph pass, before and after, on graphs imported from small ONNX models."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from net import Net, kinds

from facedeploy.compiler.graph.from_relax import graph_of
from facedeploy.compiler.graph.nodes import Cascade, Convolution, Graph, Heads, Part, Pooling, Separable
from facedeploy.compiler.graph.to_relax import relax_of
from facedeploy.compiler.passes.fuse_cascade import fuse_cascade
from facedeploy.compiler.passes.fuse_epilogue import fuse_epilogue
from facedeploy.compiler.passes.fuse_heads import fuse_heads
from facedeploy.compiler.passes.fuse_separable import fuse_separable
from facedeploy.compiler.passes.merge_parallel import merge_parallel
from facedeploy.compiler.passes.remove_concatenation import remove_concatenation
from facedeploy.compiler.target import Target

Import = Callable[..., Graph]


def test_import_knows_dense_and_depthwise_and_leaves_other_groups(imported: Import) -> None:
    net = Net()
    net.conv(net.conv(net.conv("input", 16, 16), 16, 16, group=16), 16, 16, group=4)
    graph = imported(net, [net.nodes[-1].output[0]])
    convolutions = [node for node in graph.nodes if isinstance(node, Convolution)]
    assert [node.depthwise for node in convolutions] == [False, True]
    assert "relax.nn.conv2d" in kinds(graph)


def test_import_gives_up_on_a_function_without_one_dataflow_block() -> None:
    x = tvm.relax.Var("x", tvm.relax.TensorType((1, 4), "float32"))
    builder = tvm.relax.BlockBuilder()
    with builder.function("main", [x]):
        builder.emit_func_output(builder.emit(tvm.relax.op.add(x, x)))
    assert graph_of(builder.get()["main"]) is None


@pytest.mark.parametrize(("kind", "slope"), [("Relu", 0.0), ("LeakyRelu", 0.1)])
def test_bias_and_activation_join_the_convolution(imported: Import, kind: str, slope: float) -> None:
    net = Net()
    attributes = {"alpha": slope} if kind == "LeakyRelu" else {}
    output = net.add(kind, net.conv("input", 16, 20), **attributes)
    graph = imported(net, [output])
    assert kinds(graph)[1:] == ["relax.add", "relax.nn.relu" if kind == "Relu" else "relax.nn.leakyrelu"]
    fuse_epilogue(graph)
    assert kinds(graph) == ["Convolution"]
    (node,) = graph.nodes
    assert isinstance(node, Convolution)
    assert np.array_equal(node.bias, net.weights["constant_1"])
    assert np.allclose(node.slopes, slope)
    assert node.outputs == graph.outputs


def test_activation_stays_when_something_else_reads_the_sum(imported: Import) -> None:
    net = Net()
    before = net.conv("input", 16, 16)
    graph = imported(net, [net.add("Relu", before), before])
    fuse_epilogue(graph)
    assert kinds(graph) == ["Convolution", "relax.nn.relu"]


@pytest.mark.parametrize(("slopes", "joined"), [([0.25] * 16, True), ([0.25], True), ([0.25] * 15 + [0.5], False)])
def test_prelu_of_one_slope_joins(imported: Import, slopes: list[float], joined: bool) -> None:
    net = Net()
    steep = net.constant(np.array(slopes, np.float32).reshape(-1, 1, 1))
    graph = imported(net, [net.add("PRelu", net.conv("input", 16, 16), steep)])
    fuse_epilogue(graph)
    assert kinds(graph) == (["Convolution"] if joined else ["Convolution", "relax.nn.prelu"])
    if joined:
        assert isinstance(graph.nodes[0], Convolution)
        assert (graph.nodes[0].slopes == 0.25).all()


def test_leaky_relu_steeper_than_one_stays(imported: Import) -> None:
    net = Net()
    graph = imported(net, [net.add("LeakyRelu", net.conv("input", 16, 16), alpha=1.5)])
    fuse_epilogue(graph)
    assert kinds(graph) == ["Convolution", "relax.nn.leakyrelu"]


def test_residual_joins_the_later_convolution_with_the_activation_behind_it(imported: Import) -> None:
    net = Net()
    first = net.conv("input", 16, 16)
    second = net.conv(net.add("Relu", net.conv("input", 16, 16)), 16, 16)
    graph = imported(net, [net.add("Relu", net.add("Add", first, second))])
    fuse_epilogue(graph)
    assert kinds(graph) == ["Convolution"] * 3
    last = graph.nodes[-1]
    assert isinstance(last, Convolution)
    assert last.residual is graph.nodes[0].outputs[0] or last.residual is graph.nodes[1].outputs[0]
    assert last.slope_after == 0.0
    assert (last.slopes == 1.0).all()


def test_nearest_enlargement_joins_the_addition_that_reads_it(imported: Import) -> None:
    net = Net()
    small = net.add("Relu", net.conv("input", 16, 16, strides=[2, 2]))
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    large = net.add("Resize", small, "", scales, **options)
    graph = imported(net, [net.add("Add", net.add("Relu", net.conv("input", 16, 16)), large)])
    fuse_epilogue(graph)
    graph.remove_dead()
    assert kinds(graph) == ["Convolution", "Convolution"]
    last = graph.nodes[-1]
    assert isinstance(last, Convolution)
    assert last.residual is graph.nodes[0].outputs[0]
    assert (last.upsample, last.slope_after) == (2, 1.0)
    assert (last.slopes == 0.0).all()


def test_depthwise_and_pointwise_become_one_only_for_a_single_reader(imported: Import) -> None:
    net = Net()
    depth = net.add("Relu", net.conv("input", 16, 16, group=16))
    point = net.conv(depth, 16, 32, kernel=1)
    graph = imported(net, [point])
    fuse_epilogue(graph)
    fuse_separable(graph)
    assert kinds(graph) == ["Separable"]
    (node,) = graph.nodes
    assert isinstance(node, Separable)
    assert (node.depthwise.slopes == 0.0).all()

    graph = imported(net, [point, depth])
    fuse_epilogue(graph)
    fuse_separable(graph)
    assert kinds(graph) == ["Convolution", "Convolution"]


def test_concatenation_goes_and_relu_moves_in_front(imported: Import) -> None:
    net = Net()
    parts = [net.conv("input", 16, 32), net.add("LeakyRelu", net.conv("input", 16, 16), alpha=0.1)]
    graph = imported(net, [net.conv(net.add("Relu", net.add("Concat", *parts, axis=1)), 48, 16)])
    fuse_epilogue(graph)
    assert kinds(graph) == ["Convolution", "Convolution", "relax.concat", "relax.nn.relu", "Convolution"]
    remove_concatenation(graph)
    assert kinds(graph) == ["Convolution"] * 3
    first, second, last = (node for node in graph.nodes if isinstance(node, Convolution))
    assert [part.value for part in last.sources] == [first.output, second.output]
    assert (first.slopes == 0.0).all()
    assert (second.slopes == 0.0).all()


def test_concatenation_of_part_blocks_stays(imported: Import) -> None:
    net = Net()
    graph = imported(
        net, [net.conv(net.add("Concat", net.conv("input", 16, 20), net.conv("input", 16, 16), axis=1), 36, 16)]
    )
    fuse_epilogue(graph)
    remove_concatenation(graph)
    assert kinds(graph) == ["Convolution", "Convolution", "relax.concat", "Convolution"]


def test_parallel_convolutions_merge_and_are_read_in_parts(imported: Import) -> None:
    net = Net()
    first, second = net.conv("input", 16, 32), net.add("Relu", net.conv("input", 16, 16))
    graph = imported(net, [net.conv(first, 32, 16), net.conv(second, 16, 16)])
    fuse_epilogue(graph)
    merge_parallel(graph)
    assert kinds(graph) == ["Convolution"] * 3
    merged, left, right = (node for node in graph.nodes if isinstance(node, Convolution))
    assert merged.weights.shape == (48, 16, 3, 3)
    assert merged.slopes.tolist() == [1.0] * 32 + [0.0] * 16
    assert left.sources == [Part(merged.output, 0, 32)]
    assert right.sources == [Part(merged.output, 32, 16)]


def test_convolutions_with_other_windows_or_outputs_do_not_merge(imported: Import) -> None:
    net = Net()
    first, second = net.conv("input", 16, 16), net.conv("input", 16, 16, kernel=1)
    graph = imported(net, [net.conv(first, 16, 16), net.conv(second, 16, 16), first])
    fuse_epilogue(graph)
    merge_parallel(graph)
    assert len(graph.nodes) == 4


def heads(net: Net, levels: list[str], width: int, softmax: bool = False) -> str:
    shape = net.constant(np.array([1, -1, width]))
    rows = [
        net.add("Reshape", net.add("Transpose", net.conv(level, 16, 2 * width, kernel=1), perm=[0, 2, 3, 1]), shape)
        for level in levels
    ]
    joined = net.add("Concat", *rows, axis=1)
    return net.add("Softmax", joined, axis=-1) if softmax else joined


def test_heads_become_one_node(imported: Import) -> None:
    net = Net()
    levels = [net.add("Relu", net.conv("input", 16, 16, strides=[stride] * 2)) for stride in (1, 2)]
    graph = imported(net, [heads(net, levels, 4), heads(net, levels, 2, softmax=True), heads(net, levels, 10)])
    fuse_epilogue(graph)
    fuse_heads(graph)
    assert kinds(graph) == ["Convolution", "Convolution", "Heads"]
    node = graph.nodes[-1]
    assert isinstance(node, Heads)
    assert node.outputs == graph.outputs
    assert (node.channels, node.softmaxes) == ([8, 4, 20], [False, True, False])
    assert [level.weights.shape for level in node.levels] == [(32, 16, 1, 1)] * 2
    assert [level.bias.shape for level in node.levels] == [(32,)] * 2


def test_output_whose_levels_differ_keeps_its_operators(imported: Import) -> None:
    net = Net()
    levels = [net.add("Relu", net.conv("input", 16, 16, strides=[stride] * 2)) for stride in (1, 2)]
    graph = imported(net, [heads(net, levels, 4), heads(net, levels[::-1], 10)])
    fuse_epilogue(graph)
    fuse_heads(graph)
    assert kinds(graph).count("Heads") == 1
    assert "relax.concat" in kinds(graph)
    node = next(node for node in graph.nodes if isinstance(node, Heads))
    assert node.outputs == graph.outputs[:1]


def emitted(graph: Graph, target: Target) -> list[str]:
    """Names of the kernels and operators that a graph becomes, without the numbers behind them."""
    module, _ = relax_of(graph, tvm.IRModule(), target)
    calls = [binding.value for binding in module["main"].body.blocks[0].bindings]
    names = [
        call.args[0].name_hint if call.op == tvm.ir.Op.get("relax.call_tir") else call.op.name
        for call in calls
        if isinstance(call, tvm.relax.Call)
    ]
    return [re.split(r"_\d|\dx", name)[0] for name in names]


def test_nothing_is_converted_between_two_convolutions(imported: Import, target: Target) -> None:
    net = Net()
    first = net.add("Relu", net.conv("input", 16, 16))
    pooled = net.add("MaxPool", first, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    gate = net.add("Sigmoid", net.conv(net.add("GlobalAveragePool", pooled), 16, 16, kernel=1))
    weighted = net.add("Mul", pooled, gate)
    clipped = net.add("Clip", net.add("HardSwish", weighted), "", net.constant(np.float32(6)))
    graph = imported(net, [net.conv(clipped, 16, 20)])
    fuse_epilogue(graph)
    assert emitted(graph, target) == [
        *["to_blocked", "winograd", "max_pool", "average_pool", "direct", "sigmoid", "multiply"],
        *["add", "clip", "divide", "multiply", "minimum", "winograd", "to_planar"],
    ]


def test_pooling_of_planar_tensors_stays(imported: Import, target: Target) -> None:
    net = Net()
    pooled = net.add("MaxPool", "input", kernel_shape=[2, 2], strides=[2, 2])
    last = net.add("MaxPool", net.conv(pooled, 16, 16), kernel_shape=[2, 2], strides=[2, 2])
    graph = imported(net, [last])
    fuse_epilogue(graph)
    names = emitted(graph, target)
    assert names.count("relax.nn.max_pool2d") == 2
    assert names.index("to_planar") < len(names) - 1


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 2], "dilations": [2, 2]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "pads": [1, 1, 1, 1], "count_include_pad": 1},
    ],
)
def test_pooling_that_no_kernel_does_is_an_operator(imported: Import, attributes: dict[str, Any]) -> None:
    net = Net()
    kind = "AveragePool" if "count_include_pad" in attributes else "MaxPool"
    graph = imported(net, [net.add(kind, "input", **attributes)], (1, 16, 8, 8))
    assert not any(isinstance(node, Pooling) for node in graph.nodes)


def chain_of_separables(shape: tuple[int, ...], widths: list[int]) -> tuple[Net, str]:
    net = Net()
    value, channels = "input", shape[1]
    if channels == 3:
        value, channels = net.conv(value, 3, 8), 8
    for outputs in widths:
        value = net.conv(net.conv(value, channels, channels, group=channels), channels, outputs, 1)
        channels = outputs
    return net, value


def cascaded(imported: Import, net: Net, outputs: list[str], shape: tuple[int, ...]) -> Graph:
    graph = imported(net, outputs, shape)
    for graph_pass in (fuse_epilogue, fuse_separable, fuse_cascade):
        graph_pass(graph)
    return graph


def test_cascade_takes_first_layer_and_separables_when_results_are_large(imported: Import) -> None:
    net, last = chain_of_separables((1, 3, 128, 128), [16, 32])
    graph = cascaded(imported, net, [last], (1, 3, 128, 128))
    assert kinds(graph) == ["Cascade"]
    (node,) = graph.nodes
    assert isinstance(node, Cascade)
    assert [type(layer).__name__ for layer in node.chain] == ["Convolution", "Separable", "Separable"]
    assert node.inputs == [graph.inputs[0]]
    assert node.outputs == graph.outputs


def test_cascade_leaves_small_results_and_large_weights(imported: Import) -> None:
    net, last = chain_of_separables((1, 16, 8, 8), [32, 32])
    assert kinds(cascaded(imported, net, [last], (1, 16, 8, 8))) == ["Separable", "Separable"]
    net, last = chain_of_separables((1, 256, 32, 32), [256, 256])
    assert kinds(cascaded(imported, net, [last], (1, 256, 32, 32))) == ["Separable", "Separable"]


def test_cascade_ends_where_a_result_has_another_reader(imported: Import) -> None:
    shape = (1, 3, 128, 128)
    net, middle = chain_of_separables(shape, [16, 16])
    last = net.conv(net.conv(middle, 16, 16, group=16), 16, 16, 1)
    graph = cascaded(imported, net, [last, net.add("Sigmoid", middle)], shape)
    assert kinds(graph) == ["Cascade", "Separable", "relax.sigmoid"]
