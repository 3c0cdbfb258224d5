"""Which blob a layer reads, where layers write into what they read, and what the model's ends are."""

import re

import caffe_net
import numpy as np
import pytest

from facedeploy.core.errors import CheckpointError
from facedeploy.importers.caffe.network import read_network


def layer(kind: str, bottom: str, top: str, name: str = "it", rest: str = "") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {rest} }}\n'


SLOPE = "relu_param { negative_slope: -0.5 }"
TRAINING = "param { lr_mult: 1 } loss_weight: 0 propagate_down: true phase: TEST"


def network(folder, text: str):
    (folder / "net.prototxt").write_text(text)
    return read_network(folder / "net.prototxt")


def test_layers_that_write_into_what_they_read(check_net) -> None:
    text = layer("ReLU", "data", "a", "one", SLOPE) + layer("Softmax", "a", "b", "two")
    text += (
        layer("ReLU", "a", "a", "three") + layer("Softmax", "a", "a", "four") + layer("ReLU", "a", "c", "five", SLOPE)
    )
    model = check_net(text, {}, (1, 3, 2, 2))
    assert [list(node.output) for node in model.graph.node] == [["a.1"], ["b"], ["a.2"], ["a"], ["c"]]


def test_layer_that_writes_into_the_input(check_net) -> None:
    text = layer("ReLU", "data", "data", "one", SLOPE) + layer("Softmax", "data", "out", "two")
    model = check_net(text, {}, (1, 3, 2, 2))
    assert [entry.name for entry in model.graph.input] == ["data"]


def test_name_of_an_earlier_content_that_another_blob_has(check_net) -> None:
    text = layer("ReLU", "data", "a", "one", SLOPE) + layer("Softmax", "a", "a.1", "two")
    check_net(text + layer("ReLU", "a", "a", "three"), {}, (1, 3, 2, 2))


def test_outputs_are_the_blobs_that_nothing_reads_in_the_order_of_the_file(tmp_path) -> None:
    text = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 9\n'
    text += layer("ReLU", "data", "z", "1") + layer("ReLU", "data", "m", "2") + layer("ReLU", "m", "a", "3")
    text += layer("ReLU", "z", "z", "4")
    found = network(tmp_path, text)
    assert (found.input, found.input_shape, found.outputs) == ("data", (1, 3, 8, 9), ("a", "z"))


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("include { phase: TRAIN }", False),
        ("include { phase: TEST }", True),
        ("include { phase: TRAIN } include { phase: TEST }", True),
        ("exclude { phase: TEST }", False),
        ("exclude { phase: TRAIN }", True),
        (TRAINING, True),
    ],
)
def test_layers_of_the_test_phase_are_kept(tmp_path, rule, kept) -> None:
    text = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 9 }\n' + layer("ReLU", "data", "a", "first")
    found = network(tmp_path, text + layer("Anything", "a", "b", "second", rule))
    assert [each.name for each in found.layers] == ["first", "second"][: 2 if kept else 1]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has 0 inputs"),
        ('input: "a" input: "b"', r"has 2 inputs \(a, b\), expected one"),
        ('input: "data"', "has no layers"),
        ('layers { name: "a" }', "format of Caffe before 2014.*upgrade_net_proto_text"),
        (
            'input: "data"\n' + layer("ReLU", "dat", "a"),
            r"line 2: the layer it \(ReLU\): bottom: reads the blob dat, which",
        ),
        ('input: "data"\n' + layer("ReLU", "data", "a") * 2, "top: makes the blob a, which is there already"),
        ('input: "data"\nstate { phase: TRAIN }\n' + layer("ReLU", "data", "a"), "line 2: state: is not supported"),
        ('input: "data"\nlayer { name: "x" }', "line 2: layer.type: is missing"),
        (
            'input: "data"\n' + layer("ReLU", "data", "a", "it", "include { stage: 'x' }"),
            "include.stage: is not supported",
        ),
        ('input: "data"\nlayer: 3', "line 2: layer: got 3, expected a section"),
        ('input: "data"\n' + layer("ReLU", "data", "a") + "x" * 999 + ": 1", r"line 3: x{60}\.\.\.: is not supported"),
        ("input: data", "input: got data, expected a text in quotes"),
    ],
)
def test_nets_that_cannot_be_used(tmp_path, text, problem) -> None:
    with pytest.raises(CheckpointError, match=problem):
        network(tmp_path, text)


def test_shape_given_is_used_instead_of_the_one_in_the_file(tmp_path) -> None:
    from facedeploy.importers.caffe.to_onnx import import_caffe

    prototxt, caffemodel = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    prototxt.write_text(
        'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 9\n' + layer("ReLU", "data", "a")
    )
    caffemodel.write_bytes(caffe_net.caffemodel_bytes({"it": [np.zeros(3)]}))
    model = import_caffe(prototxt, caffemodel, (2, 3, 16, 20))
    for entry in (model.graph.input[0], model.graph.output[0]):
        assert [side.dim_value for side in entry.type.tensor_type.shape.dim] == [2, 3, 16, 20]
    with pytest.raises(CheckpointError, match=r"the input data has the shape \[1, 3, 8, 9\], got \[1, 4, 8, 9\]"):
        import_caffe(prototxt, caffemodel, (1, 4, 8, 9))


def test_parameters_of_a_layer_that_the_net_lacks_in_every_phase_are_refused(import_net) -> None:
    text = layer("ReLU", "data", "a")
    blobs = {name: [np.zeros(3)] for name in ("fc1", "fc2", "fc3", "fc4")}
    with pytest.raises(CheckpointError) as caught:
        import_net(text, blobs, (1, 3, 8, 9))
    assert re.fullmatch(
        r"\S+net.caffemodel: has parameters of 4 layers that are not in \S+net.prototxt \(fc1, fc2, fc3, and 1 more\): "
        r"take the two files of one net, or add these layers with include \{ phase: TRAIN \}",
        str(caught.value),
    )
    training = [layer("InnerProduct", "a", name, name, "include { phase: TRAIN }") for name in blobs]
    import_net(text + "".join(training), blobs, (1, 3, 8, 9))
