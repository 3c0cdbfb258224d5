"""A Caffe net in two files, imported and run in onnxruntime."""

from pathlib import Path

import caffe_net
import numpy as np
import pytest

INPUT = 'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}\n'


@pytest.fixture
def import_net(tmp_path: Path):
    """Write a net of these layers behind an input `data`, and import it; blobs are layer name -> arrays."""
    pytest.importorskip("onnx", reason="importing needs onnx")
    from facedeploy.importers.caffe.to_onnx import import_caffe

    def imported(layers: str, blobs: dict, shape: tuple[int, ...], **form: bool):
        prototxt, caffemodel = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
        prototxt.write_text(INPUT.format(dims=" ".join(f"dim: {side}" for side in shape)) + layers)
        caffemodel.write_bytes(caffe_net.caffemodel_bytes(blobs, **form) if blobs else NO_BLOBS)
        return import_caffe(prototxt, caffemodel, shape)

    return imported


@pytest.fixture
def check_net(import_net):
    """That onnxruntime computes of the imported net what Caffe's definitions say."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="comparing needs onnxruntime")

    def checked(layers: str, blobs: dict, shape: tuple[int, ...], **form: bool):
        model = import_net(layers, blobs, shape, **form)
        image = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        text = INPUT.format(dims=" ".join(f"dim: {side}" for side in shape)) + layers
        agree(onnxruntime, model, caffe_net.run(text, blobs, image), image)
        return model

    return checked


@pytest.fixture
def agrees():
    onnxruntime = pytest.importorskip("onnxruntime", reason="comparing needs onnxruntime")
    return lambda model, expected, image: agree(onnxruntime, model, expected, image)


def agree(onnxruntime, model, expected: dict, image) -> None:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(expected)
    got = session.run(None, {session.get_inputs()[0].name: image})
    for output, array, wanted in zip(session.get_outputs(), got, expected.values(), strict=True):
        assert tuple(output.shape) == array.shape == wanted.shape, output.name
        assert np.abs(array - wanted).max() <= 1e-4 * max(1, np.abs(wanted).max()), output.name


NO_BLOBS = caffe_net.caffemodel_bytes({"nothing": []})
