"""The QDQ model: what it says, and that it computes almost what the float model does."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper

from facedeploy.config.build_config import QuantizeOptions
from facedeploy.core.errors import CompileError, ConfigError
from facedeploy.core.normalization import Normalization
from facedeploy.quantize.calibrate import calibrate
from facedeploy.quantize.calibration import Calibration, TensorRange
from facedeploy.quantize.equalize import channel_factors, equalize
from facedeploy.quantize.graph import Graph
from facedeploy.quantize.insert_qdq import insert_qdq
from facedeploy.quantize.placement import quantized_tensors

LINEAR_OUTPUTS = ("boxes", "top.a")
DEPTHWISE = "/depthwise/Conv"
BY_TENSOR = QuantizeOptions(quantize_per_channel=False)


@pytest.fixture(scope="module")
def table(pyramid, images):
    return calibrate(pyramid, images, QuantizeOptions())


@pytest.fixture(scope="module")
def quantized(pyramid, table):
    return insert_qdq(pyramid, table, QuantizeOptions())


def nodes_of(model, kind):
    return [node for node in model.graph.node if node.op_type == kind]


def noise(got, exact):
    """Of the error, as a part of the signal."""
    return float(np.sqrt(((got - exact) ** 2).mean() / (exact**2).mean()))


def test_model_is_valid_and_keeps_its_inputs_outputs_and_layers(pyramid, quantized):
    onnx.checker.check_model(quantized)
    assert quantized.graph.input == pyramid.graph.input
    assert quantized.graph.output == pyramid.graph.output
    kept = [node for node in quantized.graph.node if "Linear" not in node.op_type]
    assert [(node.op_type, node.name, node.output) for node in kept] == [
        (node.op_type, node.name, node.output) for node in pyramid.graph.node
    ]


def test_tensors_are_quantized_once_and_all_their_readers_read_the_integers(pyramid, quantized):
    tensors = quantized_tensors(Graph.of(pyramid))
    assert [node.input[0] for node in nodes_of(quantized, "QuantizeLinear")] == list(tensors)
    readers = Graph.of(quantized).readers
    for tensor in tensors:
        assert [node.op_type for node in readers[tensor]] == ["QuantizeLinear"]


def test_activations_are_u8_with_one_scale_a_tensor_and_weights_s8_with_one_an_output(quantized, constants):
    values = constants(quantized)
    graph = Graph.of(quantized)
    zero_points = []
    for node in nodes_of(quantized, "QuantizeLinear"):
        scale, zero_point = values[node.input[1]], values[node.input[2]]
        (reader,) = graph.readers[node.output[0]]
        assert reader.op_type == "DequantizeLinear"
        assert reader.input[1:] == node.input[1:]
        assert reader.attribute == node.attribute
        assert zero_point.dtype == np.uint8
        assert scale.shape == zero_point.shape
        assert np.unique(scale).size == 1
        zero_points.append(np.unique(zero_point).size)
    assert max(zero_points) > 1  # Each channel has its own.
    dense = [node for node in nodes_of(quantized, "Conv") if node.name != DEPTHWISE]
    for node in dense:
        weights = graph.producers[node.input[1]]
        integers, scale, zero_point = (values[name] for name in weights.input)
        assert weights.attribute[0].i == 0
        assert integers.dtype == np.int8
        assert scale.shape == zero_point.shape == (len(integers),)
        assert not zero_point.any()
        assert integers.min() >= -127
        assert (np.abs(integers).max(axis=(1, 2, 3)) > 120).all()
        assert values[node.input[2]].dtype == np.float32


def test_outputs_are_close_to_the_float_models(pyramid, quantized, run, images):
    exact, got = run(pyramid, images[0][None]), run(quantized, images[0][None])
    for name in LINEAR_OUTPUTS:
        assert noise(got[name], exact[name]) < 0.06, name


def test_channels_of_unlike_size_gain_by_equalization(pyramid, quantized, run, images):
    exact = run(pyramid, images[0][None])["boxes"]
    by_tensor = insert_qdq(pyramid, calibrate(pyramid, images, BY_TENSOR), BY_TENSOR)
    assert noise(run(quantized, images[0][None])["boxes"], exact) < noise(
        run(by_tensor, images[0][None])["boxes"], exact
    )


def test_one_scale_a_tensor_is_all_there_is_without_channels(pyramid, images, constants):
    model = insert_qdq(pyramid, calibrate(pyramid, images, BY_TENSOR), BY_TENSOR)
    onnx.checker.check_model(model)
    values = constants(model)
    linear = nodes_of(model, "QuantizeLinear") + nodes_of(model, "DequantizeLinear")
    assert all(values[name].shape == () for node in linear for name in node.input[1:])
    assert all(not node.attribute for node in linear)


def test_weights_are_those_of_the_equalized_model_and_biases_make_up_for_their_mean_error(
    quantized, pyramid, table, constants
):
    graph = Graph.of(pyramid)
    spans = {name: np.subtract(table.ranges[name].high, table.ranges[name].low) for name in quantized_tensors(graph)}
    factors = channel_factors(graph, spans)
    equal = constants(equalize(pyramid, factors))
    values = constants(quantized)
    for index, layer in enumerate(nodes_of(pyramid, "Conv")):
        weight, bias = layer.input[1:]
        # Nothing is equalized between the stem and the depthwise layer, which passes no integers on.
        assert (equal[weight] == constants(pyramid)[weight]).all() == (layer.name == "/stem/Conv")
        if layer.name == DEPTHWISE:
            np.testing.assert_array_equal(values[weight], equal[weight])
            continue
        scale = values[f"{weight}.scale"].reshape(-1, 1, 1, 1)
        np.testing.assert_allclose(scale, np.abs(equal[weight]).max(axis=(1, 2, 3), keepdims=True) / 127, rtol=1e-6)
        error = equal[weight] - values[f"{weight}.quantized"] * scale
        assert (np.abs(error) < 4 * scale).all()
        means = table.moments[index].mean.reshape(-1)[: error[0].size].reshape(error.shape[1:])
        means = means / factors[layer.input[0]].reshape(-1, 1, 1)
        np.testing.assert_allclose(
            values[bias], equal[bias] + (error * means).sum(axis=(1, 2, 3)), rtol=1e-4, atol=2e-4
        )


def test_pixels_are_quantized_exactly(pyramid, table, run, constants):
    mean = (104, 117, 123)
    model = insert_qdq(pyramid, table, QuantizeOptions(), Normalization("BGR", mean))
    values = constants(model)
    node = nodes_of(model, "QuantizeLinear")[0]
    assert values[node.input[1]].tolist() == [1, 1, 1]
    assert values[node.input[2]].tolist() == [*mean]
    pixels = np.random.default_rng(3).integers(0, 256, (1, 3, 16, 16), dtype=np.uint8)
    image = pixels.astype(np.float32) - np.float32(mean).reshape(1, 3, 1, 1)
    found = run(model, image, ["input.quantized", "input.dequantized"])
    np.testing.assert_array_equal(found["input.quantized"], pixels)
    np.testing.assert_array_equal(found["input.dequantized"], image)


def test_depthwise_layers_read_floats(quantized, constants):
    (node,) = [node for node in nodes_of(quantized, "Conv") if node.name == DEPTHWISE]
    assert constants(quantized)[node.input[1]].dtype == np.float32
    assert node.input[0] == "stem.a"  # What nothing else reads has no integers.


@pytest.mark.parametrize("wanted", [(0, 11), ("/stem/Conv", "/scores/Conv"), ("/st*/Conv", 11)])
def test_skipped_layers_keep_float_weights(pyramid, table, wanted, constants):
    model = insert_qdq(pyramid, table, QuantizeOptions(skip_conv_layers=wanted))
    onnx.checker.check_model(model)
    values = constants(model)
    layers = {node.name: node for node in nodes_of(model, "Conv")}
    float_weights = {name for name, node in layers.items() if node.input[1] in values}
    assert float_weights == {"/stem/Conv", DEPTHWISE, "/scores/Conv"}
    assert all(values[layers[name].input[1]].dtype == np.float32 for name in float_weights)
    assert layers["/stem/Conv"].input[0] == "input"  # Nothing else reads it.
    assert layers["/scores/Conv"].input[0] == "features.dequantized"  # The other head's integers.


def test_skipping_all_layers_leaves_the_float_model(pyramid, table, run, images):
    model = insert_qdq(pyramid, table, QuantizeOptions(skip_conv_layers=("*",)))
    assert Counter(node.op_type for node in model.graph.node) == Counter(node.op_type for node in pyramid.graph.node)
    exact, got = run(pyramid, images[0][None]), run(model, images[0][None])
    for name, values in exact.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-5, atol=1e-5)


def test_unknown_layer_is_one_sentence(pyramid, table):
    with pytest.raises(ConfigError, match=r"^backend\.quantize\.skip_conv_layers: .*nearest name is /stem/Conv$"):
        insert_qdq(pyramid, table, QuantizeOptions(skip_conv_layers=("/stm/Conv",)))


def test_pooled_integers_keep_their_scale(make_graph, convolution, run, constants):
    rng, weights = np.random.default_rng(0), {}
    nodes = [
        convolution("stem", "input", weights, 4, 3, rng),
        helper.make_node("LeakyRelu", ["stem"], ["a"], alpha=0.1),
        helper.make_node("MaxPool", ["a"], ["pooled"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        convolution("out", "pooled", weights, 4, 4, rng),
    ]
    model = make_graph(nodes, ["out"], weights, (1, 3, 9, 9))
    images = list(rng.normal(0, 1, (4, 3, 9, 9)).astype(np.float32))
    quantized = insert_qdq(model, calibrate(model, images, QuantizeOptions()), QuantizeOptions())
    values = constants(quantized)
    _, before, behind = nodes_of(quantized, "QuantizeLinear")
    for part in (1, 2):
        np.testing.assert_array_equal(values[before.input[part]], values[behind.input[part]])
    found = run(quantized, images[0][None], ["pooled", "pooled.dequantized"])
    np.testing.assert_array_equal(found["pooled"], found["pooled.dequantized"])


def test_image_that_is_pooled_first_is_quantized(make_graph, convolution, run):
    rng, weights = np.random.default_rng(0), {}
    nodes = [
        helper.make_node("MaxPool", ["input"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Sigmoid", ["pooled"], ["gate"]),
        helper.make_node("Add", ["pooled", "gate"], ["sum"]),
        convolution("out", "sum", weights, 4, 3, rng),
        convolution("other", "pooled", weights, 4, 3, rng),
    ]
    model = make_graph(nodes, ["out", "other"], weights, (1, 3, 8, 8))
    images = list(rng.normal(0, 1, (4, 3, 8, 8)).astype(np.float32))
    quantized = insert_qdq(model, calibrate(model, images, QuantizeOptions()), QuantizeOptions())
    exact, got = run(model, images[0][None]), run(quantized, images[0][None])
    for name, values in exact.items():
        assert noise(got[name], values) < 0.1, name


@pytest.mark.parametrize("pooled", [False, True])
def test_onnxruntimes_integer_kernels_run_what_stands_between_integers(make_graph, convolution, run, constants, pooled):
    rng, weights = np.random.default_rng(0), {}
    average = {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1}
    nodes = [
        convolution("stem", "input", weights, 8, 3, rng),
        helper.make_node("LeakyRelu", ["stem"], ["a"], alpha=0.3),
        convolution("linear", "a", weights, 8, 8, rng),  # Nothing follows it that is no convolution.
        *([helper.make_node("AveragePool", ["linear"], ["pooled"], **average)] if pooled else []),
        convolution("side", "linear", weights, 8, 8, rng, kernel=1),
        convolution("inner", "pooled" if pooled else "linear", weights, 8, 8, rng),
        helper.make_node("LeakyRelu", ["inner"], ["b"], alpha=0.3),
        convolution("out", "b", weights, 4, 8, rng),
    ]
    model = make_graph(nodes, ["out", "side"], weights, (1, 3, 16, 16))
    images = list(rng.normal(0, 1, (8, 3, 16, 16)).astype(np.float32))
    quantized = insert_qdq(model, calibrate(model, images, QuantizeOptions()), QuantizeOptions())
    values = constants(quantized)
    sizes = {node.input[0]: values[node.input[2]].size for node in nodes_of(quantized, "QuantizeLinear")}
    assert sizes["b"] == 8  # Each channel has its own still, where an activation is in between.
    assert {sizes[name] for name in ("a", "linear", *(["pooled"] if pooled else []))} == {1}
    exact = run(model, images[0][None])
    as_written = run(quantized, images[0][None])
    by_integers = run(quantized, images[0][None], optimized=True)
    for name, values in exact.items():
        assert noise(as_written[name], values) < 0.06, name
        assert noise(by_integers[name], as_written[name]) < 0.06, name  # It rounds biases; sums may saturate.


def test_same_ranges_give_the_same_bytes(pyramid, table):
    models = [insert_qdq(pyramid, Calibration.from_bytes(table.to_bytes()), QuantizeOptions()) for _ in range(2)]
    assert models[0].SerializeToString(deterministic=True) == models[1].SerializeToString(deterministic=True)


def test_model_given_is_left_alone(pyramid, table):
    before = pyramid.SerializeToString()
    insert_qdq(pyramid, table, QuantizeOptions())
    assert pyramid.SerializeToString() == before


def test_quantized_model_is_not_quantized_again(quantized, table):
    with pytest.raises(CompileError, match="quantized already"):
        insert_qdq(quantized, table, QuantizeOptions())


def test_opset_without_channels_is_refused(make_graph, table):
    model = make_graph([helper.make_node("Relu", ["input"], ["out"])], ["out"], {}, (1, 3, 4, 4), opset=12)
    with pytest.raises(CompileError, match="opset 13 or newer, got 12"):
        insert_qdq(model, table, QuantizeOptions())


def test_ranges_of_another_model_are_refused(pyramid):
    with pytest.raises(ValueError, match="another model"):
        insert_qdq(pyramid, Calibration("minmax", 1, "", {"x": TensorRange((0,), (1,))}), QuantizeOptions())
