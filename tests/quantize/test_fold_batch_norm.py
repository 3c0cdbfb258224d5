"""Batch norms become part of the convolution in front of them, and of no other."""

import numpy as np
import pytest
from onnx import helper

from facedeploy.quantize.fold_batch_norm import fold_batch_norm

IMAGE = np.random.default_rng(5).normal(0, 1, (1, 4, 6, 6)).astype(np.float32)


def norm(source, name, weights, channels, rng, **attributes):
    for part, values in (
        ("gamma", rng.normal(1, 0.5, channels)),
        ("beta", rng.normal(0, 1, channels)),
        ("mean", rng.normal(0, 1, channels)),
        ("variance", rng.uniform(0.1, 2, channels)),
    ):
        weights[f"{name}.{part}"] = values.astype(np.float32)
    inputs = [source, *(f"{name}.{part}" for part in ("gamma", "beta", "mean", "variance"))]
    return helper.make_node("BatchNormalization", inputs, [name], **attributes)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_folded_model_computes_the_same(make_graph, run, bias, groups):
    rng = np.random.default_rng(groups)
    weights = {"w": rng.normal(0, 1, (8, 4 // groups, 3, 3)).astype(np.float32), "b": rng.normal(0, 1, 8).astype("f4")}
    nodes = [
        helper.make_node("Conv", ["input", "w", "b"] if bias else ["input", "w"], ["conv"], "c", group=groups),
        norm("conv", "norm", weights, 8, rng, epsilon=0.03),
        helper.make_node("Relu", ["norm"], ["out"]),
    ]
    model = make_graph(nodes, ["out"], weights, IMAGE.shape)
    before = model.SerializeToString()
    folded = fold_batch_norm(model)
    assert [node.op_type for node in folded.graph.node] == ["Conv", "Relu"]
    assert folded.graph.node[0].output == ["norm"]
    np.testing.assert_allclose(run(folded, IMAGE)["out"], run(model, IMAGE)["out"], rtol=1e-4, atol=1e-4)
    assert model.SerializeToString() == before


def test_weights_that_two_convolutions_share_are_folded_for_one(make_graph, run):
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(0, 1, (4, 4, 1, 1)).astype(np.float32)}
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["one"]),
        norm("one", "normed", weights, 4, rng),
        helper.make_node("Conv", ["normed", "w"], ["out"]),
    ]
    model = make_graph(nodes, ["out"], weights, IMAGE.shape)
    folded = fold_batch_norm(model)
    assert [node.op_type for node in folded.graph.node] == ["Conv", "Conv"]
    np.testing.assert_allclose(run(folded, IMAGE)["out"], run(model, IMAGE)["out"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("reason", ["another reader", "an output", "no convolution"])
def test_other_batch_norms_stay(make_graph, run, reason):
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(0, 1, (4, 4, 1, 1)).astype(np.float32)}
    kind = "Relu" if reason == "no convolution" else "Conv"
    nodes = [
        helper.make_node(kind, ["input", "w"][: 1 if kind == "Relu" else 2], ["made"]),
        norm("made", "normed", weights, 4, rng),
        helper.make_node("Add", ["normed", "made" if reason == "another reader" else "normed"], ["out"]),
    ]
    model = make_graph(nodes, ["out", *(["made"] if reason == "an output" else [])], weights, IMAGE.shape)
    folded = fold_batch_norm(model)
    assert [node.op_type for node in folded.graph.node] == [kind, "BatchNormalization", "Add"]
    np.testing.assert_array_equal(run(folded, IMAGE)["out"], run(model, IMAGE)["out"])
