"""Rounding that moves a convolution's outputs less than rounding each weight to nearest does."""

import numpy as np
import pytest
from onnx import helper

from facedeploy.quantize.affine import weight_scale
from facedeploy.quantize.moments import LARGEST_BLOCK, MomentSums, in_blocks
from facedeploy.quantize.round_weights import round_weights

# (images, C, H, W), kernel, groups, attributes
CASES = {
    "pointwise": ((12, 24, 9, 9), (1, 1), 1, {}),
    "dense": ((12, 6, 12, 11), (3, 3), 1, {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    "grouped": ((12, 8, 12, 11), (3, 2), 2, {"pads": [1, 0, 0, 1], "dilations": [2, 1]}),
    "in blocks": ((30, LARGEST_BLOCK + 37, 6, 5), (1, 1), 1, {}),
}


@pytest.fixture(params=CASES, name="case")
def make_case(request, make_graph):
    shape, kernel, groups, attributes = CASES[request.param]
    rng = np.random.default_rng(0)
    channels = shape[1]
    mixed = rng.normal(0, 1, (channels, channels)) / np.sqrt(channels)  # Channels go together, and far from 0.
    images = np.einsum("nchw,cd->ndhw", rng.normal(1, 1, shape), mixed).astype(np.float32)
    images += rng.normal(0, 0.1, shape).astype(np.float32)
    weight = rng.normal(0, 1, (2 * groups, channels // groups, *kernel))
    node = helper.make_node("Conv", ["input", "w"], ["out"], group=groups, kernel_shape=kernel, **attributes)
    model = make_graph([node], ["out"], {"w": weight.astype(np.float32)}, (1, *shape[1:]))
    return model, images, weight, groups


def outputs(run, make_graph, model, images, weight, bias):
    node = model.graph.node[0]
    changed = type(node).FromString(node.SerializeToString())
    changed.input.append("b")
    constants = {"w": weight.astype(np.float32), "b": bias.astype(np.float32)}
    other = make_graph([changed], ["out"], constants, (1, *images.shape[1:]))
    return np.concatenate([run(other, image[None])["out"] for image in images])


def test_outputs_move_less_than_by_rounding_to_nearest(case, run, make_graph):
    model, images, weight, groups = case
    sums = MomentSums(model)
    for image in images:
        sums.add({"input": image[None]})
    scale = weight_scale(weight, per_channel=True) * np.float32(16)  # Few steps, so that rounding tells.
    steps = scale.reshape(-1, 1, 1, 1)
    integers, shift = round_weights(weight, scale, sums.moments()[0], groups)
    assert integers.dtype == np.int8
    nothing = np.zeros(len(weight))
    exact = outputs(run, make_graph, model, images, weight, nothing)
    nearest = outputs(run, make_graph, model, images, np.rint(weight / steps) * steps, nothing)
    learned = outputs(run, make_graph, model, images, integers * steps, shift)
    assert ((learned - exact) ** 2).mean() < 0.5 * ((nearest - exact) ** 2).mean()
    assert np.abs((learned - exact).mean(axis=(0, 2, 3))).max() < 0.1 * np.abs(exact).mean()


def test_moments_are_those_of_all_places_where_all_are_looked_at_often(case, run, make_graph):
    """Of the outputs: their mean and variance follow from the inputs' moments."""
    model, images, weight, groups = case
    sums = MomentSums(model)
    for _ in range(4):
        for image in images:
            sums.add({"input": image[None]})
    moments = sums.moments()[0]
    exact = outputs(run, make_graph, model, images, weight, np.zeros(len(weight)))
    flat = in_blocks(weight.reshape(len(weight), 1, -1))
    by_group = (groups, -1, *flat.shape[1:])
    flat = flat.reshape(by_group)
    mean = np.einsum("gobi,gbi->go", flat, moments.mean.reshape(groups, -1, flat.shape[-1])).ravel()
    spread = exact.std(axis=(0, 2, 3))
    assert np.abs(mean - exact.mean(axis=(0, 2, 3))).max() < 0.15 * spread.max()
    if flat.shape[2] == 1:
        covariance = moments.covariance.reshape(groups, -1, *moments.covariance.shape[1:])
        variance = np.einsum("gobi,gbij,gobj->go", flat, covariance, flat).ravel()
        np.testing.assert_allclose(variance, exact.var(axis=(0, 2, 3)), rtol=0.25)


def test_scaled_inputs_have_scaled_moments(case):
    model, images, weight, groups = case
    factor = np.random.default_rng(1).uniform(0.1, 3, images.shape[1])
    plain, scaled = MomentSums(model), MomentSums(model)
    for image in images:
        plain.add({"input": image[None]})
        scaled.add({"input": (image * factor.reshape(-1, 1, 1))[None].astype(np.float32)})
    by_input = np.repeat(factor.reshape(groups, -1), weight[0, 0].size, axis=1)
    expected, got = scaled.moments()[0], plain.moments()[0].with_inputs_times(by_input, groups)
    np.testing.assert_allclose(got.mean, expected.mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.covariance, expected.covariance, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("constant", [0.0, 1e4])
def test_inputs_that_hardly_change_round_to_nearest(make_graph, constant):
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (3, 4, 3, 3))
    node = helper.make_node("Conv", ["input", "w"], ["out"])
    model = make_graph([node], ["out"], {"w": weight.astype(np.float32)}, (1, 4, 6, 6))
    sums = MomentSums(model)
    for _ in range(2):
        sums.add({"input": np.full((1, 4, 6, 6), constant, np.float32)})
    scale = weight_scale(weight, per_channel=True)
    integers, shift = round_weights(weight, scale, sums.moments()[0], 1)
    steps = scale.reshape(-1, 1, 1, 1)
    assert np.array_equal(integers, np.rint(weight / steps))
    np.testing.assert_allclose(shift, (weight - integers * steps).sum(axis=(1, 2, 3)) * constant, rtol=1e-4, atol=1e-9)
