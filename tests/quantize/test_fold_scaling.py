"""Arithmetic with constants in front of a convolution becomes part of it, where that computes the same."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from facedeploy.config.build_config import QuantizeOptions
from facedeploy.core.normalization import Normalization
from facedeploy.quantize.calibrate import calibrate
from facedeploy.quantize.fold_scaling import fold_scaling
from facedeploy.quantize.insert_qdq import insert_qdq

SHAPE = (2, 4, 7, 6)
IMAGE = np.random.default_rng(5).normal(0, 1, SHAPE).astype(np.float32)
SHAPES_OF_NUMBERS = [(), (1,), (1, 1, 1), (4, 1, 1), (1, 4, 1, 1), (1, 1, 1, 1)]
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def kinds(model):
    return [node.op_type for node in model.graph.node]


def chain(steps, weights, *, groups=1, bias=True, pads=0, outputs=8):
    """Nodes that apply (operator, constant) one after the other, and a convolution; adds the constants to `weights`."""
    rng = np.random.default_rng(outputs)
    nodes, value = [], "input"
    for index, (kind, numbers, first) in enumerate(steps):
        weights[f"numbers{index}"] = numbers.astype(np.float32)
        operands = [f"numbers{index}", value] if first else [value, f"numbers{index}"]
        nodes.append(helper.make_node(kind, operands, [f"step{index}"]))
        value = f"step{index}"
    weights["w"] = rng.normal(0, 1, (outputs, 4 // groups, 3, 3)).astype(np.float32)
    weights["b"] = rng.normal(0, 1, outputs).astype(np.float32)
    inputs = [value, "w", "b"] if bias else [value, "w"]
    return [*nodes, helper.make_node("Conv", inputs, ["out"], "c", group=groups, pads=[pads] * 4)]


@quick
@given(data=st.data())
def test_folded_model_computes_the_same(make_graph, run, data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    steps = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["Mul", "Div", "Add", "Sub"]))
        numbers = rng.uniform(0.5, 2, draw(st.sampled_from(SHAPES_OF_NUMBERS))) * rng.choice([-1, 1])
        steps.append((kind, numbers, kind in ("Mul", "Add") and draw(st.booleans())))
    weights, pads = {}, draw(st.integers(0, 1))
    nodes = chain(steps, weights, groups=draw(st.sampled_from([1, 2, 4])), bias=draw(st.booleans()), pads=pads)
    model = make_graph(nodes, ["out"], weights, SHAPE)
    before = model.SerializeToString()
    folded = fold_scaling(model)
    summands = [index for index, (kind, *_) in enumerate(steps) if pads and kind in ("Add", "Sub")]
    stay = summands[-1] + 1 if summands else 0
    assert kinds(folded) == [*(kind for kind, *_ in steps[:stay]), "Conv"]
    expected = run(model, IMAGE)["out"]
    np.testing.assert_allclose(run(folded, IMAGE)["out"], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert model.SerializeToString() == before


@pytest.mark.parametrize(
    "step",
    [
        ("Div", np.float32([2, 0, 1, 1]).reshape(4, 1, 1), False),
        ("Mul", np.float32(np.inf), False),
        ("Sub", np.float32(3), True),
        ("Div", np.float32(3), True),
        ("Mul", np.arange(1, 7), False),
        ("Add", np.ones(SHAPE), False),
        ("Pow", np.float32(2), False),
    ],
    ids=["by zero", "infinite", "from a number", "of a number", "a number a column", "a tensor", "another operator"],
)
def test_other_arithmetic_stays(make_graph, step):
    weights = {}
    model = make_graph(chain([step], weights), ["out"], weights, SHAPE)
    assert kinds(fold_scaling(model)) == [step[0], "Conv"]


def test_constant_of_more_channels_than_its_source_stays(make_graph):
    weights = {}
    model = make_graph(chain([("Mul", np.ones((1, 4, 1, 1)), False)], weights), ["out"], weights, (2, 1, 7, 6))
    assert kinds(fold_scaling(model)) == ["Mul", "Conv"]


@pytest.mark.parametrize("reason", ["another reader", "an output", "weights that are no constant", "two sources"])
def test_what_a_convolution_does_not_read_alone_stays(make_graph, run, reason):
    weights = {"n": np.float32(3)}
    nodes = [
        helper.make_node("Mul", ["input", "input" if reason == "two sources" else "n"], ["first"]),
        helper.make_node("Sub", ["first", "n"], ["second"]),
        *chain([], weights),
        helper.make_node("Relu", ["second" if reason == "another reader" else "out"], ["last"]),
    ]
    nodes[2].input[0] = "second"
    if reason == "weights that are no constant":
        nodes.insert(2, helper.make_node("Relu", ["w"], ["rectified"]))
        nodes[3].input[1] = "rectified"
    model = make_graph(nodes, ["out", "last", *(["second"] if reason == "an output" else [])], weights, SHAPE)
    folded = fold_scaling(model)
    left = [kind for kind in kinds(folded) if kind not in ("Conv", "Relu")]
    assert left == (["Mul"] if reason == "two sources" else ["Mul", "Sub"])
    for name, expected in run(model, IMAGE).items():
        np.testing.assert_allclose(run(folded, IMAGE)[name], expected, rtol=1e-4, atol=1e-4)


def test_weights_that_two_convolutions_share_are_folded_for_one(make_graph, run):
    weights = {}
    nodes = [*chain([("Sub", np.float32(0.5), False)], weights, outputs=4)]
    nodes.append(helper.make_node("Conv", ["out", "w", "b"], ["twice"]))
    model = make_graph(nodes, ["twice"], weights, SHAPE)
    folded = fold_scaling(model)
    assert kinds(folded) == ["Conv", "Conv"]
    np.testing.assert_allclose(run(folded, IMAGE)["twice"], run(model, IMAGE)["twice"], rtol=1e-4, atol=1e-4)


def test_integers_of_a_net_that_normalizes_are_the_pixels(make_graph, run, constants, convolution):
    rng, weights = np.random.default_rng(0), {"half": np.float32(127.5)}
    nodes = [
        helper.make_node("Sub", ["input", "half"], ["centered"]),
        helper.make_node("Div", ["centered", "half"], ["normal"]),
        convolution("first", "normal", weights, 8, 3, rng, pads=[0] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["first"], ["rectified"]),
        convolution("last", "rectified", weights, 4, 8, rng),
    ]
    model = make_graph(nodes, ["last"], weights, (1, 3, 15, 17))
    images = list(rng.integers(0, 256, (6, 3, 15, 17)).astype(np.float32))
    table = calibrate(model, images, QuantizeOptions())
    quantized = insert_qdq(model, table, QuantizeOptions(), Normalization("RGB"))
    first, *_ = (node for node in quantized.graph.node if node.op_type == "QuantizeLinear")
    scale, zero_point = (constants(quantized)[name] for name in first.input[1:])
    assert (first.input[0], scale, zero_point) == ("input", 1, 0)
    assert not {"Sub", "Div"} & set(kinds(quantized))
    exact, got = (run(each, images[0][None])["last"] for each in (model, quantized))
    assert np.sqrt(((got - exact) ** 2).mean() / (exact**2).mean()) < 0.05
