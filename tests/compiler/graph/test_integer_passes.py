"""QDQ graphs before and after the passes that make them integer, and what they compute then, beside onnxruntime."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from differential import compiled
from net import Net, kinds

from facedeploy.compiler.frontend.onnx_file import import_onnx
from facedeploy.compiler.graph.attributes import layers_of
from facedeploy.compiler.graph.blocked_operators import blocked_operators
from facedeploy.compiler.graph.from_relax import graph_of
from facedeploy.compiler.graph.nodes import Convolution, Elementwise, Graph, Heads, IntegerCascade, Pooling, Quantize
from facedeploy.compiler.passes.block_convolutions import GRAPH_PASSES
from facedeploy.compiler.passes.fuse_epilogue import fuse_epilogue
from facedeploy.compiler.passes.map_integers import map_integers
from facedeploy.compiler.passes.remove_concatenation import remove_concatenation
from facedeploy.compiler.passes.split_concatenation import split_concatenation
from facedeploy.compiler.passes.use_integers import use_integers
from facedeploy.compiler.pipeline import phases
from facedeploy.compiler.target import DOT_PRODUCTS, Target, lacking_features, resolve_target
from facedeploy.core.tensor_spec import TensorSpec

MakeModel = Callable[..., onnx.ModelProto]
STEP = np.float32(0.05)
ENLARGED = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
# What multiplies integers, each in its own kernels and layouts.
TARGETS = ["x86-64-v2", *(f"{level}+{feature}" for level, features in DOT_PRODUCTS.items() for feature in features)]


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Target:
    if lacking := lacking_features()[request.param]:
        pytest.skip(f"this CPU lacks {', '.join(lacking)}")
    return resolve_target(request.param)


class IntegerNet(Net):
    """A Net with QuantizeLinear and DequantizeLinear."""

    def integers(
        self, source: str, zero_point: Any = 100, dtype: Any = np.uint8, scale: Any = STEP, **attributes: object
    ) -> str:
        """What a tensor becomes as integers, as floats again."""
        parameters = [self.constant(np.asarray(scale, np.float32)), self.constant(np.asarray(zero_point, dtype))]
        quantized = self.add("QuantizeLinear", source, *parameters, **attributes)
        return self.add("DequantizeLinear", quantized, *parameters, **attributes)

    def integer_conv(
        self,
        source: str,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        group: int = 1,
        least: int = -127,
        **attributes: object,
    ) -> str:
        """A convolution of s8 weights, from `least` on, with a scale for each output, and a float bias."""
        rng = np.random.default_rng(len(self.nodes))
        integers = rng.integers(-127, 128, (outputs, inputs // group, kernel, kernel), np.int8)
        integers[0, 0, 0, 0] = least
        scales = rng.uniform(0.5, 2, outputs) * 0.02 / (kernel * (inputs / group) ** 0.5)
        constants = [integers, scales.astype(np.float32), np.zeros(outputs, np.int8)]
        weights = self.add("DequantizeLinear", *map(self.constant, constants), axis=0)
        bias = self.constant(rng.normal(0, 1, outputs).astype(np.float32))
        return self.add("Conv", source, weights, bias, group=group, pads=[kernel // 2] * 4, **attributes)

    def leaky(self, source: str) -> str:
        return self.add("LeakyRelu", source, alpha=0.1)


def zero_points(channels: int) -> list[int]:
    return np.random.default_rng(channels).integers(60, 140, channels).tolist()


def graph_before(model: onnx.ModelProto, shape: tuple[int, ...], target: Target) -> Graph:
    module, _ = import_onnx(model, TensorSpec("input", shape, "float32"), Path("model.onnx"))
    with target.tvm_target:
        for apply in phases(target)[0].passes:
            module = apply(module)
    graph = graph_of(module["main"], layers_of(module))
    assert graph is not None
    return graph


def graph_after(model: onnx.ModelProto, shape: tuple[int, ...], target: Target) -> Graph:
    graph = graph_before(model, shape, target)
    for graph_pass in GRAPH_PASSES:
        graph_pass(graph)
    return graph


def as_written(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    """The outputs by onnxruntime without optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs: list[np.ndarray] = session.run(None, {"input": image})
    return outputs


def assert_computes_as_written(model: onnx.ModelProto, shape: tuple[int, ...], target: Target) -> None:
    """As `as_written`; a tie may be rounded otherwise, which moves what follows by a step."""
    image = np.random.default_rng(5).normal(0, 2, shape).astype(np.float32)
    for got, expected in zip(compiled(model, image, target), as_written(model, image), strict=True):
        assert got.shape == expected.shape
        error = np.abs(got - expected)
        assert error.max() < 0.1 * max(1.0, np.abs(expected).max())
        assert (error > 1e-4 * max(1.0, np.abs(expected).max())).mean() < 0.02


SHAPE = (1, 3, 16, 20)


def separable_net() -> IntegerNet:
    net = IntegerNet()
    first = net.leaky(
        net.integer_conv(net.integers("input", zero_points(3), axis=1, scale=[STEP] * 3), 3, 8, strides=[2, 2])
    )
    depthwise = net.leaky(net.conv(first, 8, 8, group=8))
    point = net.leaky(net.integer_conv(net.integers(depthwise, 90), 8, 24, kernel=1))
    deeper = net.leaky(net.conv(point, 24, 24, group=24, strides=[2, 2]))
    net.integer_conv(net.integers(deeper, 110), 24, 5, kernel=1)
    return net


def test_dense_and_depthwise_layers_become_pairs(make_graph: MakeModel, target: Target) -> None:
    net = separable_net()
    model = make_graph(net.nodes, [net.nodes[-1].output[0]], net.weights, SHAPE)
    before = kinds(graph_before(model, SHAPE, target))
    assert before.count("Quantize") == before.count("Dequantize") == 3
    assert before.count("Convolution") == 5
    graph = graph_after(model, SHAPE, target)
    assert kinds(graph) == ["Quantize", "IntegerCascade", "IntegerCascade", "Convolution"]
    first, second, last = graph.nodes[1:]
    assert isinstance(first, IntegerCascade)
    assert isinstance(second, IntegerCascade)
    assert isinstance(last, Convolution)
    assert [node.outputs[0].dtype for node in graph.nodes] == ["uint8", "uint8", "uint8", "float32"]
    assert last.integer
    assert [(dense.integer, depthwise.integer) for dense, depthwise in first.chain + second.chain] == [
        (True, False)
    ] * 2
    assert_computes_as_written(model, SHAPE, target)


def test_pairs_of_a_large_result_become_one_cascade(make_graph: MakeModel, target: Target) -> None:
    net = separable_net()
    shape = (1, 3, 256, 288)
    model = make_graph(net.nodes, [net.nodes[-1].output[0]], net.weights, shape)
    graph = graph_after(model, shape, target)
    assert kinds(graph) == ["Quantize", "IntegerCascade", "Convolution"]
    cascade = graph.nodes[1]
    assert isinstance(cascade, IntegerCascade)
    assert len(cascade.chain) == 2
    assert_computes_as_written(model, shape, target)


def test_addition_of_an_enlarged_tensor_joins_the_integer_convolution(make_graph: MakeModel, target: Target) -> None:
    net = IntegerNet()
    image = net.integers("input", 128)
    coarse = net.integers(
        net.leaky(net.integer_conv(image, 3, 20, strides=[2, 2])), zero_points(20), axis=1, scale=[0.07] * 20
    )
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    enlarged = net.add("Resize", coarse, "", scales, **ENLARGED)
    total = net.add("Add", net.leaky(net.integer_conv(image, 3, 20, kernel=1)), enlarged)
    net.integer_conv(net.integers(total, 120), 20, 6)
    outputs = [net.nodes[-1].output[0], net.integer_conv(coarse, 20, 4, kernel=1)]
    model = make_graph(net.nodes, outputs, net.weights, SHAPE)
    graph = graph_after(model, SHAPE, target)
    assert kinds(graph) == ["Quantize"] + ["Convolution"] * 4
    added = next(node for node in graph.nodes if isinstance(node, Convolution) and node.residual is not None)
    assert added.upsample == 2
    assert added.residual is not None
    assert (added.residual.dtype, added.output.dtype) == ("uint8", "uint8")
    assert_computes_as_written(model, SHAPE, target)


def test_concatenation_is_quantized_part_by_part_for_heads(make_graph: MakeModel, target: Target) -> None:
    net = IntegerNet()
    outputs: dict[int, list[str]] = {8: [], 4: []}
    shape_of = {width: net.constant(np.array([1, -1, width // 2])) for width in outputs}
    image = net.integers("input", 128)
    for stride in (1, 2):
        parts = [net.integer_conv(image, 3, channels, strides=[stride] * 2) for channels in (32, 16)]
        joined = net.add("Relu", net.add("Concat", *parts, axis=1))
        level = net.integers(joined, zero_points(48), axis=1, scale=[STEP] * 48)
        for width, rows in outputs.items():
            head = net.add("Transpose", net.integer_conv(level, 48, width, kernel=1), perm=[0, 2, 3, 1])
            rows.append(net.add("Reshape", head, shape_of[width]))
    boxes, scores = (net.add("Concat", *rows, axis=1) for rows in outputs.values())
    model = make_graph(net.nodes, [boxes, net.add("Softmax", scores, axis=-1)], net.weights, SHAPE)
    graph = graph_before(model, SHAPE, target)
    assert kinds(graph).count("Quantize") == 3
    split_concatenation(graph)
    assert kinds(graph).count("Quantize") == 5
    fuse_epilogue(graph)
    remove_concatenation(graph)
    assert kinds(graph).count("relax.concat") == 2  # Those of the rows.
    graph = graph_after(model, SHAPE, target)
    assert kinds(graph) == ["Quantize"] + ["Convolution"] * 4 + ["Heads"]
    heads = graph.nodes[-1]
    assert isinstance(heads, Heads)
    assert {value.dtype for value in heads.inputs} == {"uint8"}
    assert_computes_as_written(model, SHAPE, target)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_models_quantized_elsewhere_compute_as_written(make_graph: MakeModel, target: Target, dtype: Any) -> None:
    """One scale a tensor, s8 or u8, biases of int32, a depthwise layer of integers, pooling between integers."""
    net = IntegerNet()
    zero = 100 if dtype is np.uint8 else -28
    image = net.integers("input", zero, dtype)
    first = net.add("Relu", net.integer_conv(image, 3, 24))
    stored = net.integers(first, zero, dtype)
    depthwise = net.add("Relu", net.integer_conv(stored, 24, 24, group=24))
    pooled = net.add("MaxPool", net.integers(depthwise, zero, dtype), kernel_shape=[2, 2], strides=[2, 2])
    weights = net.add("DequantizeLinear", *map(net.constant, (np.int8([[[[3]]] * 24] * 7), np.float32(0.01))))
    bias = net.add("DequantizeLinear", net.constant(np.arange(7, dtype=np.int32)), net.constant(np.float32(5e-4)))
    net.add("Conv", net.integers(pooled, zero, dtype), weights, bias)
    model = make_graph(net.nodes, [net.nodes[-1].output[0], stored], net.weights, SHAPE)
    graph = graph_after(model, SHAPE, target)
    convolutions = [node for node in graph.nodes if isinstance(node, Convolution)]
    assert [(node.integer, node.depthwise) for node in convolutions] == [(True, False), (True, True), (True, False)]
    assert_computes_as_written(model, SHAPE, target)


@pytest.mark.parametrize("channels", [16, 20, 6])
def test_what_is_computed_between_integers_stays_in_blocks(
    make_graph: MakeModel, target: Target, channels: int
) -> None:
    net = IntegerNet()
    both = 2 * channels
    by_channel = {"zero_point": zero_points(both), "axis": 1, "scale": [STEP] * both}
    first = net.integer_conv(net.integers("input", 128), 3, channels)
    unsigned = net.add("Relu", net.add("Concat", first, net.add("Neg", first), axis=1))
    stored = net.integers(unsigned, **by_channel)
    averages = net.add("AveragePool", stored, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
    branches = [
        net.leaky(net.integer_conv(source, both, channels, kernel=1)) for source in (stored, net.integers(averages, 90))
    ]
    joined = net.integers(net.add("Concat", *branches, axis=1), **by_channel)
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
    small = net.integer_conv(net.integers(net.add("MaxPool", joined, **window), **by_channel), both, channels)
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    large = net.add("Resize", small, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    product = net.integers(net.add("Mul", large, net.integer_conv(joined, both, channels)), 120)
    output = net.integer_conv(product, channels, 4)
    model = make_graph(net.nodes, [output], net.weights, SHAPE)
    graph = graph_after(model, SHAPE, target)
    assert all(node.integer for node in graph.nodes if isinstance(node, Convolution))
    if channels == 16:  # Parts of a concatenation are whole blocks.
        image, *others = (node for node in graph.nodes if not isinstance(node, Convolution))
        assert isinstance(image, Quantize)
        assert set(others) == blocked_operators(graph)
        assert [node.outputs[0].dtype for node in others if isinstance(node, Pooling)] == ["uint8"] * 2
        assert not {"relax.concat", "relax.negative", "relax.nn.avg_pool2d"} & set(kinds(graph))
    assert_computes_as_written(model, SHAPE, target)


@pytest.mark.parametrize("channels", [6, 20, 64, 96])
def test_arithmetic_between_integers_is_of_integers(make_graph: MakeModel, target: Target, channels: int) -> None:
    """A residual block: what is added is read as it is, and by the next convolution as its ReLU; among other things."""
    net = IntegerNet()
    by_channel = {"zero_point": zero_points(channels), "axis": 1, "scale": [STEP] * channels}
    stored = net.integers(net.integer_conv(net.integers("input", 128), 3, channels), **by_channel)
    slopes = net.constant(np.random.default_rng(1).uniform(-0.5, 1, (channels, 1, 1)).astype(np.float32))
    numbers = net.constant(np.random.default_rng(2).uniform(0.5, 2, (1, channels, 1, 1)).astype(np.float32))
    small = net.integers(net.integer_conv(stored, channels, channels, strides=[2, 2]), 120)
    enlarged = net.add("Resize", small, "", net.constant(np.float32([1, 1, 2, 2])), **ENLARGED)
    made = [
        net.integers(net.add("Relu", stored), 0, scale=0.03),
        net.integers(net.add("PRelu", stored, slopes), **by_channel),
        net.integers(net.add("Div", stored, numbers), 128),
        net.integers(net.add("Sigmoid", stored), 0, scale=1 / 255),
        net.integers(enlarged, 110, scale=0.061),
    ]
    made.append(net.integers(net.add("Mul", *made[1:3]), 128, scale=0.47))
    outputs = [*made, net.integer_conv(made[-1], channels, 4)]
    model = make_graph(net.nodes, outputs, net.weights, SHAPE)
    graph = graph_before(model, SHAPE, target)
    fuse_epilogue(graph)
    use_integers(graph)
    before = kinds(graph)
    map_integers(graph)
    after = [node for node in graph.nodes if isinstance(node, Elementwise)]
    assert len(after) == 6
    assert {value.dtype for node in after for value in [*node.inputs, *node.outputs]} == {"uint8"}
    assert before.count("Quantize") - kinds(graph).count("Quantize") == 6
    assert kinds(graph).count("Dequantize") == len(made)  # For the graph's outputs.
    image = np.random.default_rng(5).normal(0, 2, SHAPE).astype(np.float32)
    steps = [0.03, STEP, STEP, 1 / 255, 0.061, 0.47]
    results = compiled(model, image, target)[:-1], as_written(model, image)[:-1]  # A sum of many may be further off.
    for got, wanted, step in zip(*results, steps, strict=True):
        error = np.abs(got - wanted) / step
        assert error.max() < 2.01  # A step of its own, and what one of its operands makes of one.
        assert (error > 0.01).mean() < 0.02


def test_arithmetic_that_something_reads_or_makes_as_floats_stays(make_graph: MakeModel, target: Target) -> None:
    net = IntegerNet()
    stored = net.integers(net.integer_conv(net.integers("input", 128), 3, 16), 120)
    returned, read, mixed = (net.add("Relu", stored), net.add("Sigmoid", stored), net.add("Add", stored, stored))
    mixed = net.add("Mul", stored, net.add("Sigmoid", mixed))
    read_twice = [net.integers(read, 0), net.add("Sigmoid", read)]
    outputs = [returned, net.integers(returned, 0), net.integers(mixed, 128), *read_twice]
    model = make_graph(net.nodes, outputs, net.weights, SHAPE)
    graph = graph_after(model, SHAPE, target)
    operators = [node for node in graph.nodes if isinstance(node, Elementwise)]
    assert len(operators) == 6
    assert {value.dtype for node in operators for value in [*node.inputs, *node.outputs]} == {"float32"}
    assert_computes_as_written(model, SHAPE, target)


@pytest.mark.parametrize("least", [-127, -128])
def test_weight_without_a_negative_is_not_negated(make_graph: MakeModel, target: Target, least: int) -> None:
    net = IntegerNet()
    first = net.integer_conv(net.integers("input", 128), 3, 16, least=least)
    both = net.add("Relu", net.add("Concat", first, net.add("Neg", first), axis=1))
    output = net.integer_conv(net.integers(both, 0), 32, 4)
    model = make_graph(net.nodes, [output], net.weights, SHAPE)
    assert ("relax.negative" in kinds(graph_after(model, SHAPE, target))) == (least == -128)
    assert_computes_as_written(model, SHAPE, target)


@pytest.mark.parametrize(("window", "convolutions"), [((3, 3), 2), ((5, 5), 2), ((7, 7), 1)])
def test_averages_over_small_windows_are_of_integers(
    make_graph: MakeModel, target: Target, window: tuple[int, int], convolutions: int
) -> None:
    net = IntegerNet()
    pads = [window[0] // 2, window[1] // 2] * 2
    averages = net.add(
        "AveragePool", net.integers("input", 128), kernel_shape=list(window), pads=pads, count_include_pad=1
    )
    output = net.integer_conv(net.integers(averages, 90), 3, 4)
    model = make_graph(net.nodes, [output], net.weights, SHAPE)
    assert sum(isinstance(node, Convolution) for node in graph_after(model, SHAPE, target).nodes) == convolutions
    assert_computes_as_written(model, SHAPE, target)


def test_channels_of_unlike_scale_are_summed_as_floats(make_graph: MakeModel, target: Target) -> None:
    net = IntegerNet()
    source = net.integers("input", [128] * 3, scale=[0.05, 0.04, 0.05], axis=1)
    net.integer_conv(source, 3, 8)
    model = make_graph(net.nodes, [net.nodes[-1].output[0]], net.weights, SHAPE)
    graph = graph_before(model, SHAPE, target)
    fuse_epilogue(graph)
    use_integers(graph)
    assert kinds(graph) == ["Quantize", "Dequantize", "Convolution"]
    assert_computes_as_written(model, SHAPE, target)


def test_integers_that_something_else_reads_stay_as_they_are(make_graph: MakeModel, target: Target) -> None:
    net = IntegerNet()
    step, zero = net.constant(STEP), net.constant(np.uint8(100))
    quantized = net.add("QuantizeLinear", "input", step, zero)
    dequantized = net.add("DequantizeLinear", quantized, step, zero)
    net.integer_conv(dequantized, 3, 8)
    outputs = [net.nodes[-1].output[0], net.add("Cast", quantized, to=onnx.TensorProto.FLOAT)]
    model = make_graph(net.nodes, outputs, net.weights, SHAPE)
    graph = graph_after(model, SHAPE, target)
    assert "Quantize" not in kinds(graph)
    assert_computes_as_written(model, SHAPE, target)
