"""What the importer gets computes what the file says, in fewer forms."""

from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from random_graph import RandomGraph

from facedeploy.compiler.frontend.prepare_onnx import prepare_onnx
from facedeploy.core.tensor_spec import TensorSpec


def run(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"input": image})


def model_of(
    nodes: list[onnx.NodeProto], constants: dict[str, Any], shape: tuple[Any, ...], opset: int = 17
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [f"side_{i}" for i in range(4)])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)


def prepared(model: onnx.ModelProto, *shape: int) -> onnx.ModelProto:
    result = prepare_onnx(model, TensorSpec("input", shape, "float32"))
    onnx.checker.check_model(result)
    return result


def image_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    return dict(Counter(node.op_type for node in model.graph.node))


@pytest.mark.parametrize("seed", range(60))
def test_prepared_graph_computes_the_same_in_fewer_forms(seed: int) -> None:
    graph = RandomGraph(seed)
    model = graph.model(6)
    image = graph.rng.normal(0, 1, graph.shape).astype(np.float32)
    before = model.SerializeToString()
    result = prepared(model, *graph.shape)
    assert model.SerializeToString() == before
    assert result.opset_import[0].version >= 17
    assert not {"Constant", "Split", "Upsample"} & set(kinds(result))
    for a, b in zip(run(result, image), run(model, image), strict=True):
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= 1e-5 * max(1.0, np.abs(b).max())


def test_sizes_computed_from_shapes_become_constants_and_empty_inputs_go() -> None:
    nodes = [
        helper.make_node("MaxPool", ["input"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Shape", ["input"], ["shape"]),
        helper.make_node("Slice", ["shape", "two", "four", "zero"], ["sides"]),
        helper.make_node("Shape", ["small"], ["small_shape"]),
        helper.make_node("Slice", ["small_shape", "zero", "two", "zero"], ["outer"]),
        helper.make_node("Concat", ["outer", "sides"], ["sizes"], axis=0),
        helper.make_node("Resize", ["small", "empty", "empty", "sizes"], ["large"], mode="nearest"),
        helper.make_node("Add", ["input", "large"], ["output"]),
    ]
    constants = {"zero": [0], "two": [2], "four": [4], "empty": np.zeros(0, np.float32)}
    model = model_of(nodes, constants, ("N", 3, "H", "W"), opset=11)
    result = prepared(model, 2, 3, 6, 10)
    assert kinds(result) == {"MaxPool": 1, "Resize": 1, "Add": 1}
    assert list(result.graph.node[1].input)[1:3] == ["", ""]
    assert len(result.graph.initializer) == 1
    image = image_of(2, 3, 6, 10)
    assert np.array_equal(run(result, image)[0], run(model, image)[0])


@pytest.mark.parametrize(
    ("how", "pads"), [("SAME_UPPER", [0, 1, 1, 1]), ("SAME_LOWER", [1, 1, 0, 1]), ("VALID", [0] * 4)]
)
def test_automatic_padding_gets_its_numbers(how: str, pads: list[int]) -> None:
    node = helper.make_node("MaxPool", ["input"], ["output"], kernel_shape=[2, 3], strides=[1, 2], auto_pad=how)
    model = model_of([node], {}, (1, 3, 7, 9))
    result = prepared(model, 1, 3, 7, 9)
    attributes = {each.name: helper.get_attribute_value(each) for each in result.graph.node[0].attribute}
    assert "auto_pad" not in attributes
    assert attributes["pads"] == pads
    image = image_of(1, 3, 7, 9)
    assert np.array_equal(run(result, image)[0], run(model, image)[0])


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(("side", "pads"), [(1, 1), (1, 2), (2, 0), (3, 0)])
def test_a_window_a_little_larger_than_its_input_has_the_output_of_onnxruntime(
    operator: str, side: int, pads: int
) -> None:
    attributes = {"kernel_shape": [3, 1], "strides": [2, 1], "pads": [0, 0, pads, 0]}
    model = model_of([helper.make_node(operator, ["input"], ["output"], **attributes)], {}, (1, 4, side, 5))
    image, result = image_of(1, 4, side, 5), prepared(model, 1, 4, side, 5)
    assert np.array_equal(run(result, image)[0], run(model, image)[0])
    node = next(node for node in result.graph.node if node.op_type == operator)
    top, _, bottom, _ = next(entry.ints for entry in node.attribute if entry.name == "pads")
    assert top + side + bottom >= 3


@pytest.mark.parametrize(
    ("operator", "more"), [("MaxPool", {}), ("AveragePool", {"count_include_pad": 1, "strides": [3, 1]})]
)
def test_a_window_larger_than_its_input_is_refused(operator: str, more: dict[str, Any]) -> None:
    node = helper.make_node(operator, ["input"], ["output"], kernel_shape=[3, 1], **more)
    said = rf"{operator} output has a window of 3x1 px .* on an input of 2x5 px, padding included"
    with pytest.raises(ValueError, match=said):
        prepared(model_of([node], {}, (1, 4, 2, 5)), 1, 4, 2, 5)


def test_dropout_and_identity_go_and_clip_from_zero_is_relu() -> None:
    nodes = [
        helper.make_node("Dropout", ["input"], ["a"]),
        helper.make_node("Clip", ["a", "", "one"], ["b"]),
        helper.make_node("Clip", ["b", "half"], ["c"]),
        helper.make_node("Identity", ["c"], ["d"]),
        helper.make_node("Clip", ["d", "zero", "one"], ["output"]),
    ]
    constants = {name: np.float32(value) for name, value in (("zero", 0), ("half", -0.5), ("one", 1))}
    model = model_of(nodes, constants, (1, 3, 4, 4))
    result = prepared(model, 1, 3, 4, 4)
    assert [node.op_type for node in result.graph.node] == ["Clip", "Clip", "Relu", "Clip"]
    image = image_of(1, 3, 4, 4)
    assert np.array_equal(run(result, image)[0], run(model, image)[0])


def test_quantized_weights_keep_their_operators() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["weights", "scale", "zero"], ["kernel"]),
        helper.make_node("Conv", ["input", "kernel"], ["output"]),
    ]
    constants = {"weights": np.ones((4, 3, 1, 1), np.int8), "scale": np.float32(0.5), "zero": np.int8(0)}
    assert "DequantizeLinear" in kinds(prepared(model_of(nodes, constants, (1, 3, 4, 4)), 1, 3, 4, 4))


@pytest.mark.parametrize("how", ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"])
@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize(
    ("sizes", "scales"), [((15, 13), None), ((16, 21), None), (None, (1.5, 2.7)), (None, (0.6, 3))]
)
def test_nearest_resize_picks_the_pixels_that_onnxruntime_picks(
    how: str, rounding: str, sizes: tuple[int, int] | None, scales: tuple[float, float] | None
) -> None:
    constants = {"sizes": np.array([1, 3, *(sizes or ())]), "scales": np.array([1, 1, *(scales or ())], np.float32)}
    inputs = ["input", "", "scales"] if scales else ["input", "", "", "sizes"]
    node = helper.make_node(
        "Resize", inputs, ["output"], mode="nearest", coordinate_transformation_mode=how, nearest_mode=rounding
    )
    model = model_of([node], {name: constants[name] for name in inputs if name in constants}, (1, 3, 8, 7))
    result = prepared(model, 1, 3, 8, 7)
    image = image_of(1, 3, 8, 7)
    assert np.array_equal(run(result, image)[0], run(model, image)[0])
    repeats = sizes == (16, 21) and rounding.startswith("round") and "half_pixel" in how
    assert (kinds(result) == {"Resize": 1}) == (repeats or (sizes == (16, 21) and (how, rounding) == PLAIN))


PLAIN = ("asymmetric", "floor")


@pytest.mark.parametrize(
    ("how", "sizes", "scales"),
    [
        ("align_corners", (1, 9), None),
        ("align_corners", (5, 1), None),
        ("align_corners", (1, 1), None),
        ("half_pixel", None, (1.3, 1.7)),
        ("asymmetric", None, (0.7, 2.2)),
        ("pytorch_half_pixel", None, (0.2, 1.45)),
    ],
)
def test_linear_resize_that_tvm_samples_elsewhere_becomes_products(
    how: str, sizes: tuple[int, int] | None, scales: tuple[float, float] | None
) -> None:
    constants = {"sizes": np.array([1, 3, *(sizes or ())]), "scales": np.array([1, 1, *(scales or ())], np.float32)}
    inputs = ["input", "", "scales"] if scales else ["input", "", "", "sizes"]
    node = helper.make_node("Resize", inputs, ["output"], mode="linear", coordinate_transformation_mode=how)
    model = model_of([node], {name: constants[name] for name in inputs if name in constants}, (1, 3, 8, 7))
    result = prepared(model, 1, 3, 8, 7)
    assert kinds(result) == {"MatMul": 2}
    image = image_of(1, 3, 8, 7)
    np.testing.assert_allclose(run(result, image)[0], run(model, image)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("opset", [9, 17])
def test_a_resize_has_the_size_that_float32_gives(mode: str, opset: int) -> None:
    scales = np.array([1, 1, 13 / 7, 2], np.float32)
    assert 7 * float(scales[2]) < 13 == np.float32(7) * scales[2]
    kind, region = ("Upsample", []) if opset < 11 else ("Resize", [""])
    nodes = [
        helper.make_node(kind, ["input", *region, "scales"], ["larger"], mode=mode),
        helper.make_node(kind, ["larger", *region, "scales"], ["output"], mode=mode),
    ]
    model = model_of(nodes, {"scales": scales}, (1, 3, 7, 7), opset)
    image = image_of(1, 3, 7, 7)
    expected = run(model, image)[0]
    result = prepared(model, 1, 3, 7, 7)
    np.testing.assert_allclose(run(result, image)[0], expected, rtol=1e-5, atol=1e-5)
    (output,) = onnx.shape_inference.infer_shapes(result).graph.output
    sides = tuple(side.dim_value for side in output.type.tensor_type.shape.dim)
    assert sides == expected.shape == (1, 3, 24, 28)
