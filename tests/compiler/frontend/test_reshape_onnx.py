"""A model reshaped is the model exported at that shape."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from facedeploy.compiler.frontend.onnx_file import at_shape
from facedeploy.compiler.frontend.reshape_onnx import reshape_onnx
from facedeploy.core.errors import CompileError
from facedeploy.core.tensor_spec import TensorSpec


def spec(*shape: int, name: str = "input") -> TensorSpec:
    return TensorSpec(name, shape, "float32")


def run(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # It warns of sizes that nothing reads any more.
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {model.graph.input[0].name: image})


def model_of(nodes, shape, constants=None, rank=None) -> onnx.ModelProto:
    """`nodes` from `input` of `shape` to `output`."""
    entries = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    source = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [None] * (rank or len(shape)))
    graph = helper.make_graph(nodes, "net", [source], [output], entries)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def check_same(nodes_at, old, new, rank=None) -> None:
    """`nodes_at(shape)` gives the nodes and constants of a model written for that shape."""
    models = [model_of(*(nodes_at(shape)[0], shape, nodes_at(shape)[1], rank)) for shape in (old, new)]
    image = np.random.default_rng(0).random(new, np.float32)
    (got,), (expected,) = run(reshape_onnx(models[0], spec(*old), spec(*new)), image), run(models[1], image)
    np.testing.assert_array_equal(got, expected)


SIDES = st.sampled_from([2, 3, 4, 6, 8])


@given(
    old=st.tuples(st.integers(1, 3), st.just(3), SIDES, SIDES),
    new=st.tuples(st.integers(1, 3), st.just(3), SIDES, SIDES),
    anchors=st.integers(1, 3),
)
def test_rows_of_a_head_follow_the_canvas(old, new, anchors) -> None:
    """(N, anchors 2, H, W) -> (N, H W anchors, 2), with the sizes written as numbers."""

    def nodes_at(shape):
        batch, _, height, width = shape
        weight = np.random.default_rng(1).random((anchors * 2, 3, 1, 1), np.float32)
        return [
            helper.make_node("Conv", ["input", "w"], ["head"]),
            helper.make_node("Transpose", ["head"], ["last"], perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", ["last", "shape"], ["output"]),
        ], {"w": weight, "shape": np.array([batch, height * width * anchors, 2])}

    check_same(nodes_at, old, new, rank=3)


@given(
    old=st.tuples(st.integers(1, 3), st.just(6), SIDES, SIDES),
    new=st.tuples(st.integers(1, 3), st.just(6), SIDES, SIDES),
)
def test_reshape_with_a_zero_behind_the_batch_follows_the_canvas(old, new) -> None:
    """(N, 6, H, W) -> (N, 2, 3 H, W) and back, as a softmax over pairs of channels has it."""

    def nodes_at(shape):
        return [
            helper.make_node("Reshape", ["input", "pairs"], ["paired"]),
            helper.make_node("Softmax", ["paired"], ["soft"], axis=1),
            helper.make_node("Reshape", ["soft", "apart"], ["output"]),
        ], {"pairs": np.array([0, 2, -1, 0]), "apart": np.array([0, 6, -1, 0])}

    check_same(nodes_at, old, new)


def test_reshape_that_keeps_the_batch_alone_is_refused_where_its_sides_do_not_say_what_grows() -> None:
    node = helper.make_node("Reshape", ["input", "shape"], ["output"])
    model = model_of([node], (1, 2, 20, 10), {"shape": np.array([0, 4, -1, 10])})
    with pytest.raises(ValueError, match="does not say what of"):
        reshape_onnx(model, spec(1, 2, 20, 10), spec(1, 2, 40, 20))


@given(old=st.tuples(st.just(2), st.just(3), SIDES, SIDES), new=st.tuples(st.just(2), st.just(3), SIDES, SIDES))
def test_reshapes_that_split_and_merge_sides(old, new) -> None:
    def nodes_at(shape):
        batch, channels, height, width = shape
        return [
            helper.make_node("Reshape", ["input", "flat"], ["pixels"]),
            helper.make_node("Reshape", ["pixels", "apart"], ["halves"]),
            helper.make_node("Reshape", ["halves", "whole"], ["output"]),
        ], {
            "flat": np.array([batch, channels, height * width]),
            "apart": np.array([batch, channels, 1, height * width, 1]),
            "whole": np.array([batch * channels, -1, 1]),
        }

    check_same(nodes_at, old, new, rank=3)


@pytest.mark.parametrize("new", [(1, 3, 12, 20), (4, 3, 8, 8), (2, 3, 2, 30)])
def test_upsampling_to_sizes_keeps_its_ratio(new) -> None:
    def nodes_at(shape):
        batch, channels, height, width = shape
        half = {"kernel_shape": [2, 2], "strides": [2, 2]}
        resize = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return [
            helper.make_node("MaxPool", ["input"], ["small"], **half),
            helper.make_node("Resize", ["small", "", "", "sizes"], ["output"], **resize),
        ], {"sizes": np.array([batch, channels, height, width])}

    check_same(nodes_at, (1, 3, 8, 16), new)


@given(
    old=st.tuples(st.just(1), st.just(3), st.sampled_from([4, 7, 8]), st.sampled_from([6, 8, 16])),
    new=st.tuples(st.just(1), st.just(3), st.integers(2, 20), st.integers(2, 20)),
    swapped=st.booleans(),
)
@settings(deadline=None)
def test_upsampling_to_what_it_is_added_to_may_be_a_row_less(old, new, swapped) -> None:
    """A pyramid: halved twice, rounded up, and added on the way back."""

    def nodes_at(shape):
        weight = np.random.default_rng(1).random((3, 1, 3, 3), np.float32)
        sizes = [np.array([1, 3, *(-(-side // step) for side in shape[2:])]) for step in (1, 2)]
        halving = {"strides": [2, 2], "pads": [1] * 4, "group": 3}
        resize = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        sums = [["input", "up"], ["half", "middle"]]
        return [
            helper.make_node("Conv", ["input", "w"], ["half"], **halving),
            helper.make_node("Conv", ["half", "w"], ["quarter"], **halving),
            helper.make_node("Resize", ["quarter", "", "", "sizes1"], ["middle"], **resize),
            helper.make_node("Add", sums[1][::-1] if swapped else sums[1], ["sum"]),
            helper.make_node("Resize", ["sum", "", "", "sizes0"], ["up"], **resize),
            helper.make_node("Add", sums[0][::-1] if swapped else sums[0], ["output"]),
        ], {"w": weight, **{f"sizes{index}": each for index, each in enumerate(sizes)}}

    check_same(nodes_at, old, new)


def test_sizes_that_the_model_works_out_itself_stay(tmp_path) -> None:
    """A Constant node, -1, and a shape computed from the input's."""

    def nodes_at(shape):
        batch, _, height, width = shape
        return [
            helper.make_node(
                "Constant", [], ["flat"], value=numpy_helper.from_array(np.array([batch, 3, height * width]))
            ),
            helper.make_node("Reshape", ["input", "flat"], ["pixels"]),
            helper.make_node("Shape", ["input"], ["shape"]),
            helper.make_node("Reshape", ["pixels", "shape"], ["image"]),
            helper.make_node("Slice", ["image", "first", "last", "axis"], ["two"]),
            helper.make_node("Relu", ["two"], ["output"]),
        ], {"first": np.array([1]), "last": np.array([3]), "axis": np.array([1])}

    check_same(nodes_at, (1, 3, 8, 16), (2, 3, 4, 6))


def test_more_images_at_a_time(tiny_artifact) -> None:
    model = onnx.load(tiny_artifact.onnx)
    images = np.random.default_rng(0).random((2, 3, 96, 128), np.float32)
    both = run(reshape_onnx(model, spec(1, 3, 96, 128), spec(2, 3, 96, 128)), images)
    for index in range(2):
        for got, expected in zip(both, run(model, images[index : index + 1]), strict=True):
            np.testing.assert_allclose(got[index : index + 1], expected, rtol=0, atol=1e-6)
    assert model == onnx.load(tiny_artifact.onnx), "the model that was given changed"


@pytest.mark.parametrize("name", ["yunet_n_640_640.ShiqiYu.onnx", "scrfd_500m_kps.hpc203.onnx"])
def test_detectors_made_elsewhere(shared_data, name) -> None:
    """On the part of a canvas that both have, far from where they differ, a head sees the same."""
    model = onnx.load(shared_data / "weights" / name)
    source = model.graph.input[0].name
    image = np.zeros((1, 3, 640, 640), np.float32)
    image[:, :, :480] = np.random.default_rng(0).random((1, 3, 480, 640), np.float32) * 255
    small = reshape_onnx(model, spec(1, 3, 640, 640, name=source), spec(1, 3, 480, 640, name=source))
    for got, expected in zip(run(small, image[:, :, :480]), run(model, image), strict=True):
        assert got.shape[1] * 4 == expected.shape[1] * 3
        top = got.shape[1] // 8
        np.testing.assert_allclose(got[:, :top], expected[:, :top], rtol=0, atol=1e-3)


REFUSED = {
    "a Slice of rows": (
        [helper.make_node("Slice", ["input", "first", "last", "axis"], ["output"])],
        {"first": np.array([0]), "last": np.array([8]), "axis": np.array([2])},
        "the Slice output may count what changes with the shape",
    ),
    "a Split of rows": (
        [helper.make_node("Split", ["input"], ["output", "rest"], axis=2)],
        {},
        "the Split output may count what changes with the shape",
    ),
    "rows apart from one another": (
        [helper.make_node("Reshape", ["input", "shape"], ["output"])],
        {"shape": np.array([1, 3, 2, 64])},
        "the Reshape output makes [1, 3, 2, 64] of [1, 3, 8, 16], which does not say what of [1, 3, 12, 16]",
    ),
    "a ratio that is no whole number": (
        [helper.make_node("Resize", ["input", "", "", "sizes"], ["output"], "up", mode="linear")],
        {"sizes": np.array([1, 3, 9, 16])},
        "the Resize up makes [1, 3, 9, 16] of [1, 3, 8, 16], which does not say what of [1, 3, 12, 16]",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_may_mean_another_thing_is_refused(kind, tmp_path) -> None:
    nodes, constants, said = REFUSED[kind]
    model = model_of(nodes, (1, 3, 8, 16), constants)
    with pytest.raises(CompileError) as caught:
        at_shape(model, spec(1, 3, 8, 16), spec(1, 3, 12, 16), tmp_path / "net.onnx")
    assert str(caught.value) == (
        f"frontend.ladder: {tmp_path}/net.onnx cannot be had for [1, 3, 12, 16]: {said}; "
        "leave that shape out, or compile an export of it as an artifact of its own"
    )
