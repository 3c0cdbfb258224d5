"""Which tensors become integers."""

import numpy as np
import pytest
from onnx import helper

from facedeploy.quantize.graph import Graph
from facedeploy.quantize.placement import observed_tensors, quantized_tensors


def test_every_convolution_reads_integers_and_what_a_kernel_keeps_to_itself_stays_float(pyramid):
    assert quantized_tensors(Graph.of(pyramid)) == (
        "input",
        "depthwise.a",
        "pointwise.a",
        "coarse.a",
        "top.a",  # It is stored, and read where it is stored: not behind the resizing.
        "sum",  # The lateral convolution, its activation and the addition are one kernel.
        "merge.a",
        "inner.a",
        "features",  # Behind the concatenation and its activation.
    )


@pytest.mark.parametrize(
    ("skipped", "gone"),
    [
        ({0}, {"input"}),
        ({3}, set()),  # coarse reads what lateral reads too.
        ({3, 5}, {"pointwise.a"}),
        ({10, 11}, {"features"}),
        ({6}, {"sum", "top.a"}),  # No integers behind the addition, none in front of it.
        (set(range(12)), {"everything"}),
    ],
)
def test_tensor_stays_float_when_all_convolutions_that_read_it_are_skipped(pyramid, skipped, gone):
    graph = Graph.of(pyramid)
    every = set(quantized_tensors(graph))
    expected = set() if gone == {"everything"} else every - gone
    assert set(quantized_tensors(graph, skipped)) == expected
    assert expected <= set(observed_tensors(graph))


def residual(make_graph, convolution, shortcut):
    """stem, pooled; two convolutions and a shortcut (the pooled tensor itself, or a convolution of it); relu; out."""
    rng, weights = np.random.default_rng(0), {}
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        convolution("stem", "input", weights, 4, 3, rng),
        helper.make_node("Relu", ["stem"], ["stem.a"]),
        helper.make_node("MaxPool", ["stem.a"], ["pooled"], **pool),
        convolution("one", "pooled", weights, 4, 4, rng),
        helper.make_node("Relu", ["one"], ["one.a"]),
        convolution("two", "one.a", weights, 4, 4, rng),
    ]
    if shortcut:
        nodes.append(convolution("shortcut", "pooled", weights, 4, 4, rng))
    nodes += [
        helper.make_node("Add", ["two", "shortcut" if shortcut else "pooled"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["sum.a"]),
        convolution("out", "sum.a", weights, 4, 4, rng),
    ]
    return Graph.of(make_graph(nodes, ["out"], weights, (1, 3, 8, 8)))


def test_pooling_reads_and_makes_integers_and_a_residual_reads_them(make_graph, convolution):
    graph = residual(make_graph, convolution, shortcut=False)
    assert quantized_tensors(graph) == ("input", "stem.a", "pooled", "one.a", "sum.a")


def test_of_two_convolutions_added_the_first_is_stored(make_graph, convolution):
    graph = residual(make_graph, convolution, shortcut=True)
    assert quantized_tensors(graph) == ("input", "stem.a", "pooled", "one.a", "two", "sum.a")
    assert {"shortcut", "two"} <= set(observed_tensors(graph))


def test_addition_of_shapes_or_of_a_constant_has_nothing_to_store(make_graph, convolution):
    rng, weights = np.random.default_rng(0), {"one": np.float32([1]), "two": np.array([2])}
    nodes = [
        helper.make_node("Shape", ["input"], ["shape"]),
        helper.make_node("Add", ["shape", "shape"], ["twice"]),
        helper.make_node("Sigmoid", ["input"], ["soft"]),
        helper.make_node("Add", ["soft", "one"], ["shifted"]),
        convolution("out", "shifted", weights, 2, 3, rng),
    ]
    graph = Graph.of(make_graph(nodes, ["out", "twice"][:1], weights, (1, 3, 4, 4)))
    assert quantized_tensors(graph) == observed_tensors(graph) == ("shifted",)


def test_convolution_of_computed_weights_stays_float(make_graph):
    weights = {"w": np.ones((2, 3, 1, 1), np.float32)}
    nodes = [helper.make_node("Relu", ["w"], ["made"]), helper.make_node("Conv", ["input", "made"], ["out"])]
    assert quantized_tensors(Graph.of(make_graph(nodes, ["out"], weights, (1, 3, 4, 4)))) == ()
