"""Peers' profiles of a small net: every convolution is found once, whatever they fuse into it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facedeploy.analysis.peers import PEERS
from facedeploy.quantize.layers import convolution_names

SHAPE = (1, 3, 24, 32)


def model_of(named):
    """Convolutions with activations, a depthwise one, a residual addition, and a concatenation."""
    random = np.random.default_rng(0)
    nodes, weights = [], []

    def add(kind, *inputs, **attributes):
        output = f"{kind}_{len(nodes)}"
        name = f"/{output}" if named else ""
        nodes.append(helper.make_node(kind, list(inputs), [output], name=name, **attributes))
        return output

    def conv(source, inputs, outputs, kernel, group=1):
        shape = outputs, inputs // group, kernel, kernel
        weights.append(numpy_helper.from_array(random.normal(0, 0.1, shape).astype(np.float32), f"w{len(nodes)}"))
        return add("Conv", source, weights[-1].name, pads=[kernel // 2] * 4, group=group)

    first = add("LeakyRelu", conv("input", 3, 16, 3), alpha=0.1)
    deep = add("Relu", conv(first, 16, 16, 3, group=16))
    second = add("Relu", add("Add", conv(deep, 16, 16, 1), first))
    joined = add("Concat", conv(second, 16, 16, 3), add("Relu", conv(second, 16, 16, 1)), axis=1)
    last = conv(joined, 32, 8, 1)
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, 8, *SHAPE[2:]])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("name", PEERS)
def test_every_convolution_is_in_one_node_with_a_time(name, named, tmp_path):
    pytest.importorskip(name, reason=f"{name} is not installed (extra bench)")
    model = model_of(named)
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "net.onnx")
    peer = PEERS[name](tmp_path / "net.onnx", model, np.ones(SHAPE, np.float32), 1)
    calls = peer.round(3) + peer.round(2)
    nodes = peer.nodes()
    assert len(calls) == 5
    assert all(us > 0 for us in calls)
    assert sorted(layer for node in nodes for layer in node.layers) == sorted(convolution_names(model))
    assert all(node.us >= 0 for node in nodes)
    assert any(not node.layers for node in nodes), "such as the concatenation"
    assert peer.version
