"""The symbol JSON: its nodes and how they hang together."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import TREE, mutate
from params_file import params_bytes
from small_symbol import Net

from facedeploy.core.errors import CheckpointError, FacedeployError
from facedeploy.importers.mxnet.import_mxnet import import_mxnet
from facedeploy.importers.mxnet.symbol import read_symbol


def small_net() -> Net:
    net = Net()
    conv = net.batch_norm(net.convolution(net.data, 3, 4, (3, 3), stride=(2, 2), pad=(1, 1)), 4)
    relu = net.add("Activation", conv, act_type="relu")
    up = net.add("UpSampling", relu, scale=2, sample_type="nearest", num_args=1)
    shaped = net.add("Reshape", net.add("Crop", up, net.data, num_args=2), shape=(0, 2, -1, 0))
    net.add("slice_axis", net.add("softmax", shaped, axis=1), axis=1, begin=0, end=1)
    return net


def test_nodes_and_heads_are_read_in_order(tmp_path: Path) -> None:
    net = small_net()
    symbol = read_symbol(net.write(tmp_path)[0])
    assert [(node.op, node.name) for node in symbol.nodes] == [(node["op"], node["name"]) for node in net.nodes]
    assert symbol.heads == ((len(net.nodes) - 1, 0),)
    assert symbol.nodes[3].attributes["kernel"] == "(3, 3)"
    assert symbol.nodes[3].inputs == ((0, 0), (1, 0), (2, 0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.pop("heads"), "is not an MXNet symbol: expected an object with nodes, arg_nodes and heads"),
        (lambda data: data.update(heads=[]), "heads: the symbol has no outputs"),
        (lambda data: data.update(heads=[[99, 0, 0]]), "heads.0: got the node 99, expected one that comes before"),
        (lambda data: data.update(heads=[[True, 0]]), "heads.0: got [True, 0], expected [node, output]"),
        (lambda data: data.update(nodes={}), "nodes: got an empty section, expected a list"),
        (lambda data: data.update(arg_nodes=[3]), "arg_nodes: got 3, expected the number of a node whose op is null"),
        (lambda data: data["nodes"].insert(0, 7), "nodes.0: expected an object with op, name and inputs"),
        (lambda data: data["nodes"][0].update(op=1), "nodes.0.op: got 1, expected text"),
        (lambda data: data["nodes"][0].update(name="\u001b"), "nodes.0.name: got '\\x1b', expected text"),
        (lambda data: data["nodes"][1].update(name="data"), "nodes.1: a node of the name data is there already"),
        (lambda data: data["nodes"][1].update(inputs=[[0, 0]]), "nodes.1.inputs: a node whose op is null has none"),
        (lambda data: data["nodes"][3].update(inputs=[[3, 0]]), "nodes.3.inputs.0: got the node 3, expected one that"),
        (lambda data: data["nodes"][3].update(inputs=[[-1, 0]]), "nodes.3.inputs.0: got [-1, 0], expected [node, out"),
        (lambda data: data["nodes"][3].update(attrs={"kernel": 3}), "nodes.3.attrs: expected an object whose values"),
        (lambda data: data["nodes"][3].update(subgraphs=[]), "nodes.3: the key subgraphs is not known here"),
    ],
)
def test_symbol_that_does_not_hang_together_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    data = json.loads(json.dumps(small_net().symbol()))
    change(data)
    path = tmp_path / "s.json"
    path.write_text(json.dumps(data))
    with pytest.raises(CheckpointError) as caught:
        read_symbol(path)
    assert str(caught.value).startswith(f"{path}: {said}")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b'{"nodes": 1, "nodes": 2}', b"[" * 100_000])
def test_file_that_is_no_symbol_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(content)
    with pytest.raises(FacedeployError) as caught:
        read_symbol(path)
    assert str(caught.value).startswith(f"{path}: ")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
def test_mutation_is_imported_or_refused_in_one_sentence(tmp_path: Path, seed: int) -> None:
    net = small_net()
    path = tmp_path / "s.json"
    params = tmp_path / "p.params"
    params.write_bytes(params_bytes(net.params))
    chance = random.Random(seed)
    for _ in range(5):
        _, content = mutate(chance, json.dumps(net.symbol()).encode(), TREE)
        path.write_bytes(content)
        try:
            import_mxnet(path, params, (1, 3, 8, 8))
        except FacedeployError as error:
            said = str(error)
            assert said.startswith((f"{path}: ", f"{params}: "))
            assert said.isprintable()
            assert len(said) < 600
