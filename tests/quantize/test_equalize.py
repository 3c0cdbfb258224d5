"""Equalization leaves what the float model computes as it is, and makes the channels of its tensors equal."""

import numpy as np
import pytest
from onnx import helper

from facedeploy.quantize.equalize import NARROWEST, channel_factors, equalize
from facedeploy.quantize.graph import Graph
from facedeploy.quantize.placement import carried_from, quantized_tensors
from facedeploy.quantize.scale_classes import UNSCALED, channel_classes


class Grown:
    """A random graph of what channels' factors go through: branches, odd groups, what they do not go through too."""

    def __init__(self, seed: int, convolution) -> None:
        self.convolution = convolution
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights, self.tensors = [], {}, {"input": (4, 12)}

    def emit(self, kind, sources, channels, side, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, sources, [name], **attributes))
        self.tensors[name] = channels, side

    def step(self):
        names = list(self.tensors)
        name = names[-1 - min(int(self.rng.exponential(1.5)), len(names) - 1)]
        channels, side = self.tensors[name]
        alike = [other for other, shape in self.tensors.items() if shape == (channels, side)]
        other = str(self.rng.choice(alike))
        match int(self.rng.integers(0, 12)):
            case 0 | 1 | 2:
                groups = int(self.rng.choice([1, channels, 2])) if channels % 2 == 0 else channels
                out = groups * int(self.rng.integers(1, max(2, 12 // groups)))
                node = self.convolution(
                    f"t{len(self.nodes)}", name, self.weights, out, channels, self.rng, group=groups
                )
                self.nodes.append(node)
                self.tensors[node.output[0]] = out, side
            case 3:
                self.emit("LeakyRelu", [name], channels, side, alpha=0.1)
            case 4:
                self.emit("Relu", [name], channels, side)
            case 5:
                slope = f"slope{len(self.nodes)}"
                self.weights[slope] = self.rng.uniform(0, 0.5, (channels, 1, 1)).astype(np.float32)
                self.emit("PRelu", [name, slope], channels, side)
            case 6:
                self.emit("Add", [name, other], channels, side)
            case 7:
                self.emit("Concat", [name, other], 2 * channels, side, axis=1)
            case 8 if side % 2 == 0:
                kind = str(self.rng.choice(["MaxPool", "AveragePool"]))
                self.emit(kind, [name], channels, side // 2, kernel_shape=[2, 2], strides=[2, 2])
            case 9 if side < 12:
                self.weights["scales"] = np.float32([1, 1, 2, 2])
                mode = str(self.rng.choice(["nearest", "linear"]))
                self.emit("Resize", [name, "", "scales"], channels, side * 2, mode=mode)
            case 10:
                self.emit("Sigmoid", [name], channels, side)
            case 11:
                self.emit("Mul", [name, other], channels, side)


@pytest.mark.parametrize("seed", range(30))
def test_equalized_model_computes_the_same_for_any_factors_of_classes(make_graph, run, convolution, seed):
    grown = Grown(seed, convolution)
    for _ in range(14):
        grown.step()
    read = {name for node in grown.nodes for name in node.input}
    outputs = [name for name in grown.tensors if name not in read]
    model = make_graph(grown.nodes, outputs, grown.weights, (1, 4, 12, 12))
    classes = channel_classes(Graph.of(model))
    rng = np.random.default_rng(seed)
    of_class = 10 ** rng.uniform(-2, 2, 1 + max((int(ids.max()) for ids in classes.values()), default=0))
    of_class[UNSCALED] = 1
    factors = {name: of_class[ids] for name, ids in classes.items()}
    image = rng.normal(0, 1, (1, 4, 12, 12)).astype(np.float32)
    before, after = run(model, image, list(classes)), run(equalize(model, factors), image, list(classes))
    for name in outputs:
        bound = 1e-4 * max(1e-3, np.abs(before[name]).max())
        np.testing.assert_allclose(after[name], before[name], rtol=0, atol=bound)
    for name, factor in factors.items():
        expected = before[name] / factor.reshape(1, -1, 1, 1)
        np.testing.assert_allclose(after[name], expected, rtol=0, atol=1e-4 * max(1e-3, np.abs(expected).max()))


def spans_of(tensors, names):
    rows = {name: np.moveaxis(tensors[name], 1, 0).reshape(tensors[name].shape[1], -1) for name in names}
    return {name: values.max(1).clip(0) - values.min(1).clip(max=0) for name, values in rows.items()}


def test_channels_become_as_wide_as_the_widest_where_a_tensor_is_free(pyramid, run, images):
    graph = Graph.of(pyramid)
    names = quantized_tensors(graph)
    image = images[0][None]
    spans = spans_of(run(pyramid, image, names), names)
    equal = equalize(pyramid, channel_factors(graph, spans))
    after = spans_of(run(equal, image, names), names)
    equal_channels = 0
    for name in ("depthwise.a", "pointwise.a", "coarse.a", "inner.a", "features"):
        assert spans[name].max() > 3 * np.median(spans[name])
        wide = spans[name] >= NARROWEST * spans[name].max()
        equal_channels += wide.sum() - 1
        np.testing.assert_allclose(after[name][wide], after[name].max(), rtol=1e-3)
        narrow = ~wide & (spans[name] > 0)
        expected = spans[name][narrow] / (NARROWEST * spans[name].max()) * after[name].max()
        np.testing.assert_allclose(after[name][narrow], expected, rtol=1e-3)
    assert equal_channels > 8


def test_operands_of_an_addition_share_factors_between_what_each_wants(make_graph, convolution):
    rng, weights = np.random.default_rng(0), {}
    nodes = [
        convolution("a", "input", weights, 2, 3, rng),
        convolution("b", "input", weights, 2, 3, rng),
        helper.make_node("Add", ["a", "b"], ["sum"]),
        convolution("out", "sum", weights, 2, 2, rng),
    ]
    graph = Graph.of(make_graph(nodes, ["out"], weights, (1, 3, 4, 4)))
    factors = channel_factors(graph, {"a": np.array([1.0, 3.61]), "sum": np.array([3.0, 3.0])})
    np.testing.assert_array_equal(factors["a"], factors["b"])
    np.testing.assert_array_equal(factors["a"], factors["sum"])
    assert factors["a"][1] / factors["a"][0] == pytest.approx(1.9)
    assert (factors["out"] == 1).all()


def test_channel_that_is_always_zero_counts_as_the_widest(make_graph, convolution):
    weights = {}
    nodes = [convolution("a", "input", weights, 3, 3, np.random.default_rng(0))]
    nodes.append(convolution("out", "a", weights, 1, 3, np.random.default_rng(1)))
    graph = Graph.of(make_graph(nodes, ["out"], weights, (1, 3, 4, 4)))
    factors = channel_factors(graph, {"a": np.array([0.0, 2.0, 8.0])})["a"]
    assert factors[0] == factors[2] == pytest.approx(4 * factors[1])
    assert (channel_factors(graph, {"a": np.zeros(3)})["a"] == 1).all()


def test_input_and_outputs_are_never_scaled(pyramid):
    classes = channel_classes(Graph.of(pyramid))
    for name in ("input", "boxes", "scores", "top.a", "sum", "lateral.a"):
        assert (classes[name] == UNSCALED).all(), name
    assert carried_from(Graph.of(pyramid), "up") == "top.a"
