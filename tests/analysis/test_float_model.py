"""Which tensors of a graph a kernel may have made, and their channels behind a concatenation."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facedeploy.analysis.float_model import FloatModel, Made
from facedeploy.core.anchor_spec import AnchorSpec
from facedeploy.core.errors import CompileError
from facedeploy.core.tensor_spec import TensorSpec

IMAGE = TensorSpec("input", (1, 3, 8, 8), "float32")


@pytest.fixture
def file(tmp_path):
    """Two convolutions and a third one of other channels, concatenated, activated, added; a convolution behind."""
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
        for name, shape in {"wa": (4, 3, 1, 1), "wb": (2, 3, 1, 1), "wc": (6, 6, 1, 1), "wd": (6, 6, 1, 1)}.items()
    ]
    nodes = [
        helper.make_node("Conv", ["input", "wa"], ["a"], "first"),
        helper.make_node("Conv", ["input", "wb"], ["b"], "second"),
        helper.make_node("Relu", ["b"], ["b.relu"]),
        helper.make_node("Concat", ["a", "b.relu"], ["both"], axis=1),
        helper.make_node("LeakyRelu", ["both"], ["both.leaky"]),
        helper.make_node("Conv", ["both.leaky", "wc"], ["c"], "third"),
        helper.make_node("Add", ["c", "both.leaky"], ["sum"]),
        helper.make_node("Conv", ["sum", "wd"], ["d"], "fourth"),
        helper.make_node("Add", ["d", "sum"], ["out"]),
    ]
    values = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 6, 8, 8])]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("input", TensorProto.FLOAT, IMAGE.shape)], values, weights
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "net.onnx"
    )
    return tmp_path / "net.onnx"


def test_tensors_that_a_kernel_may_have_made(file):
    model = FloatModel(file, IMAGE)
    assert model.channels == {"first": 4, "second": 2, "third": 6, "fourth": 6}
    # `a` comes first in the concatenation, `b` behind it. A sum's sum is nothing of one kernel.
    assert model.made["first"] == (Made("a"), Made("both"), Made("both.leaky"), Made("sum"))
    behind = ("a",)
    assert model.made["second"] == (
        Made("b"),
        Made("b.relu"),
        Made("both", behind),
        Made("both.leaky", behind),
        Made("sum", behind),
    )
    assert model.made["third"] == (Made("c"), Made("sum"))
    assert model.made["fourth"] == (Made("d"), Made("out"))


def test_channels_are_those_of_the_convolution(file):
    model = FloatModel(file, IMAGE)
    image = np.random.default_rng(1).standard_normal(IMAGE.shape).astype(np.float32)
    tensors = model.run(image)
    weights = {entry.name: numpy_helper.to_array(entry) for entry in onnx.load(file).graph.initializer}
    for name, layer, place in (("wa", "first", 1), ("wb", "second", 2)):
        convolved = np.einsum("oi,nihw->nohw", weights[name][:, :, 0, 0], image)
        expected = convolved if layer == "first" else np.maximum(convolved, 0)
        got = model.made[layer][place].of(tensors, model.channels[layer])
        assert np.allclose(got, expected, atol=1e-5)


def test_quantized_model_is_refused(file):
    model = onnx.load(file)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.1), "scale"))
    model.graph.node.append(helper.make_node("QuantizeLinear", ["out", "scale"], ["integers"]))
    onnx.save(model, file)
    with pytest.raises(CompileError, match=r"net\.onnx is quantized, expected the float model"):
        FloatModel(file, IMAGE)


def test_input_of_another_size_is_refused(file):
    with pytest.raises(CompileError, match=r"takes \[1, 3, 8, 8\], the artifact \[1, 3, 16, 16\]"):
        FloatModel(file, TensorSpec("input", (1, 3, 16, 16), "float32"))


def test_model_of_two_inputs_is_refused(file):
    model = onnx.load(file)
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1, 3]))
    onnx.save(model, file)
    with pytest.raises(CompileError, match=r"takes \[1, 3, 8, 8\] and \[1, 3\], the artifact \[1, 3, 8, 8\]"):
        FloatModel(file, IMAGE)


def test_outputs_of_levels_are_gathered_as_the_artifact_has_them(file):
    model = onnx.load(file)
    model.graph.node.extend([helper.make_node("Split", ["out"], ["box", "score"], axis=1)])
    model.graph.initializer.append(numpy_helper.from_array(np.array([4, 2]), "sizes"))
    model.graph.node[-1].input.append("sizes")
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 8, 8])
        for name, channels in (("box", 4), ("score", 2))
    )
    onnx.save(model, file)
    image = np.random.default_rng(1).standard_normal(IMAGE.shape).astype(np.float32)
    plain, gathered = FloatModel(file, IMAGE), FloatModel(file, IMAGE, AnchorSpec(((1,),), (1,)))
    assert (plain.outputs, gathered.outputs) == (("box", "score"), ("loc", "conf"))
    tensors = gathered.run(image)
    expected = plain.run(image)
    np.testing.assert_array_equal(tensors["loc"], expected["box"].transpose(0, 2, 3, 1).reshape(1, 64, 4))
    np.testing.assert_array_equal(tensors["conf"], expected["score"][:, 1:].transpose(0, 2, 3, 1).reshape(1, 64, 1))
