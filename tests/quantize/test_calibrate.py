"""Ranges are those of the tensors that onnxruntime computes."""

import weakref

import numpy as np
import pytest
from onnx import helper

from facedeploy.config.build_config import QuantizeOptions
from facedeploy.core.errors import CompileError, DataError
from facedeploy.quantize.calibrate import calibrate
from facedeploy.quantize.graph import Graph
from facedeploy.quantize.placement import observed_tensors

MODES = pytest.mark.parametrize("mode", ["minmax", "percentile", "kl_divergence", "mse"])


@pytest.mark.parametrize("mode", ["minmax", "max"])
def test_minmax_is_the_extent_of_each_channel(pyramid, images, run, mode):
    names = observed_tensors(Graph.of(pyramid))
    table = calibrate(pyramid, images, QuantizeOptions(mode), content_hash="x")
    assert (table.method, table.samples, table.content_hash) == ("minmax", len(images), "x")
    assert tuple(table.ranges) == names
    runs = [run(pyramid, image[None], names) for image in images]
    for name, found in table.ranges.items():
        values = np.stack([tensors[name][0] for tensors in runs], 1).reshape(len(found.low), -1)
        np.testing.assert_allclose(found.low, values.min(1).clip(max=0), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.high, values.max(1).clip(0), rtol=1e-4, atol=1e-4)


@MODES
def test_other_modes_stay_within_the_extent(pyramid, images, mode):
    extent = calibrate(pyramid, images, QuantizeOptions()).ranges
    for name, found in calibrate(pyramid, images, QuantizeOptions(mode)).ranges.items():
        assert (np.array(found.low) >= extent[name].low).all()
        assert (np.array(found.high) <= extent[name].high).all()
        assert sum(found.high) > 0.2 * sum(extent[name].high)


@MODES
def test_a_tensor_has_one_range_without_channels(pyramid, images, mode):
    table = calibrate(pyramid, images, QuantizeOptions(mode, quantize_per_channel=False))
    assert all(len(found.low) == len(found.high) == 1 for found in table.ranges.values())


@MODES
def test_same_images_give_the_same_table(pyramid, images, mode):
    one, other = (calibrate(pyramid, images, QuantizeOptions(mode)) for _ in range(2))
    assert one.to_bytes() == other.to_bytes()


@pytest.mark.parametrize(("mode", "passes"), [("minmax", 1), ("mse", 2)])
def test_progress_counts_every_pass(pyramid, images, mode, passes):
    heard = []
    calibrate(pyramid, images, QuantizeOptions(mode), on_image=lambda done, total: heard.append((done, total)))
    total = passes * len(images)
    assert heard == [(done, total) for done in range(1, total + 1)]


@pytest.mark.parametrize("count", [1, 3, 4])
def test_batches_that_the_images_do_not_fill_count_each_image_once(make_graph, convolution, count):
    rng, weights = np.random.default_rng(0), {}
    nodes = [convolution("out", "input", weights, 2, 3, rng)]
    images = list(rng.normal(0, 1, (count, 3, 4, 4)).astype(np.float32))
    heard = []
    one, three = (
        calibrate(
            make_graph(nodes, ["out"], weights, (batch, 3, 4, 4)),
            images,
            QuantizeOptions("percentile"),
            on_image=lambda done, total: heard.append((done, total)),
        )
        for batch in (1, 3)
    )
    assert one.ranges == three.ranges
    np.testing.assert_allclose(one.moments[0].covariance, three.moments[0].covariance, rtol=1e-5, atol=1e-6)
    assert heard[-1] == (2 * count, 2 * count)


def test_one_image_is_held_at_a_time(pyramid):
    """However many there are: each is gone when the next is asked for."""

    class Watched:
        def __init__(self, count):
            self.count, self.alive, self.most = count, weakref.WeakSet(), 0

        def __len__(self):
            return self.count

        def __getitem__(self, index):
            self.most = max(self.most, len(self.alive))
            tensor = np.random.default_rng(index).normal(0, 1, (3, 16, 16)).astype(np.float32).view(Tensor)
            self.alive.add(tensor)
            return tensor

    class Tensor(np.ndarray):
        __hash__ = object.__hash__
        __eq__ = object.__eq__

    samples = Watched(12)
    calibrate(pyramid, samples, QuantizeOptions("percentile"))
    assert samples.most <= 1


def test_no_image_is_one_sentence(pyramid):
    with pytest.raises(DataError, match="no image to calibrate with"):
        calibrate(pyramid, [], QuantizeOptions())


def test_canvas_of_another_size_is_one_sentence(pyramid):
    with pytest.raises(DataError, match=r"\[3, 16, 20\] of an image, the model takes \[3, 16, 16\]"):
        calibrate(pyramid, [np.zeros((3, 16, 20), np.float32)], QuantizeOptions())


def test_value_that_is_not_finite_is_one_sentence(make_graph, convolution):
    weights = {}
    nodes = [
        helper.make_node("Log", ["input"], ["log"]),
        convolution("out", "log", weights, 1, 3, np.random.default_rng(0)),
    ]
    model = make_graph(nodes, ["out"], weights, (1, 3, 4, 4))
    with pytest.raises(DataError, match="log is not finite"):
        calibrate(model, [np.zeros((3, 4, 4), np.float32)], QuantizeOptions())


def test_operator_that_onnxruntime_lacks_is_one_sentence(make_graph, convolution):
    weights = {}
    nodes = [convolution("out", "input", weights, 1, 3, np.random.default_rng(0))]
    model = make_graph(nodes, ["out"], weights, (1, 3, 4, 4))
    model.graph.node.insert(0, helper.make_node("Unheard", ["input"], ["x"]))
    with pytest.raises(CompileError, match=r"onnxruntime cannot run the model.*Unheard") as caught:
        calibrate(model, [np.zeros((3, 4, 4), np.float32)], QuantizeOptions())
    assert len(str(caught.value).splitlines()) == 1
