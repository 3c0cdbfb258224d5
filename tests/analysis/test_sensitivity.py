"""The ranking of layers, against onnxruntime without graph optimizations, which computes QDQ as it is written."""

from dataclasses import replace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="ranking quantizes ONNX graphs")
onnxruntime = pytest.importorskip("onnxruntime", reason="ranking runs ONNX graphs")

from facedeploy.analysis.sensitivity import integer_layers, rank_layers  # noqa: E402
from facedeploy.compiler.quantize import CalibratedModel  # noqa: E402
from facedeploy.config.build_config import QuantizeOptions  # noqa: E402
from facedeploy.quantize.calibrate import calibrate  # noqa: E402
from facedeploy.quantize.calibration import TensorRange  # noqa: E402
from facedeploy.quantize.insert_qdq import insert_qdq  # noqa: E402
from facedeploy.quantize.layers import convolution_names  # noqa: E402

BATCH, DEPTHWISE = 2, 1  # Of the net: images a call, and the convolution that follows a dense one alone.


def make_net(seed):
    """Dense, depthwise, then two dense convolutions, of which the last one's output is small beside the other's."""
    rng = np.random.default_rng(seed)
    shapes = [(8, 3, 3, 3), (8, 1, 3, 3), (6, 8, 1, 1), (4, 6, 3, 3)]
    weights = {f"w{i}": rng.normal(0, 1 / np.prod(shape[1:]) ** 0.5, shape) for i, shape in enumerate(shapes)}
    nodes, tensor = [], "input"
    for index, shape in enumerate(shapes):
        groups = 8 if index == DEPTHWISE else 1
        attributes = {"group": groups, "pads": [shape[-1] // 2] * 4, "name": f"/net/{index}/Conv"}
        nodes.append(onnx.helper.make_node("Conv", [tensor, f"w{index}"], [f"c{index}"], **attributes))
        nodes.append(onnx.helper.make_node("Relu", [f"c{index}"], [f"r{index}"]))
        tensor = f"r{index}"
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [BATCH, 3, 12, 12])],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("r2", "r3")],
        [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def calibrated_net(seed, options):
    model, rng = make_net(seed), np.random.default_rng(seed)
    samples = [rng.normal(0, 1, (3, 12, 12)).astype(np.float32) for _ in range(3)]
    calibration = calibrate(model, samples, options)
    return CalibratedModel(model, tuple(convolution_names(model)), options, samples, calibration, None)


def outputs(model, batch):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": batch})


@pytest.mark.parametrize("seed", range(3))
def test_error_is_that_of_a_model_in_which_one_layer_alone_is_integer(seed):
    options = QuantizeOptions()
    found = calibrated_net(seed, options)
    assert integer_layers(found) == [0, 2, 3]
    expected = {}
    calls = [np.stack([found.samples[0], found.samples[1]]), np.stack([found.samples[2], found.samples[0]])]
    for layer in (0, 2, 3):
        others = tuple(other for other in range(4) if other != layer)
        alone = insert_qdq(found.model, found.calibration, replace(options, skip_conv_layers=others))
        pairs = [(outputs(found.model, call), outputs(alone, call)) for call in calls]
        relative = []
        for output in range(2):
            wanted = np.stack([pair[0][output] for pair in pairs]).astype(np.float64)
            got = np.stack([pair[1][output] for pair in pairs])
            relative.append(((got - wanted) ** 2).sum() / (wanted**2).sum())
        expected[f"/net/{layer}/Conv"] = np.mean(relative) ** 0.5
    ranked = rank_layers(found)
    assert [each.layer for each in ranked] == sorted(expected, key=lambda name: -expected[name])
    for each in ranked:
        assert each.error == pytest.approx(expected[each.layer], rel=0.02)
        assert each.error > 0


@pytest.mark.parametrize(("layer", "tensor"), [(0, "input"), (2, "r1"), (3, "r2")])
def test_layer_with_the_coarsest_integers_comes_first(layer, tensor):
    found = calibrated_net(0, QuantizeOptions())
    wide = found.calibration.ranges[tensor]
    wide = TensorRange(tuple(100 * end for end in wide.low), tuple(100 * end for end in wide.high))
    coarse = replace(found.calibration, ranges={**found.calibration.ranges, tensor: wide})
    assert rank_layers(replace(found, calibration=coarse))[0].layer == f"/net/{layer}/Conv"


def test_layers_that_the_config_skips_are_not_ranked():
    found = calibrated_net(0, QuantizeOptions(skip_conv_layers=(0, "/net/3/*")))
    assert [each.layer for each in rank_layers(found)] == ["/net/2/Conv"]
