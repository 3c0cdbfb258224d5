"""`frontend.type: caffe`: what is compiled of a Caffe net computes what onnxruntime does of its ONNX."""

import shutil

import caffe_net
import numpy as np
import onnxruntime
import pytest

from facedeploy.compiler.build import compile_model
from facedeploy.compiler.frontend.checkpoint import read_checkpoint
from facedeploy.config.load import load_build_config
from facedeploy.core.errors import CompileError
from facedeploy.importers.caffe.to_onnx import import_caffe
from facedeploy.runtime.model import Model

# A level, the one below it upsampled and cropped to it, and classes of two priors as the published nets have them.
PROTOTXT = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 bias_term: false } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "bn" top: "bn" }
layer { name: "pool" type: "Pooling" bottom: "bn" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "up" type: "Deconvolution" bottom: "pool" top: "up"
  convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 group: 4 bias_term: false } }
layer { name: "crop" type: "Crop" bottom: "up" bottom: "bn" top: "crop" }
layer { name: "sum" type: "Eltwise" bottom: "bn" bottom: "crop" top: "sum" }
layer { name: "score" type: "Convolution" bottom: "sum" top: "score"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "pairs" type: "Reshape" bottom: "score" top: "pairs"
  reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } } }
layer { name: "soft" type: "Softmax" bottom: "pairs" top: "soft" }
layer { name: "classes" type: "Reshape" bottom: "soft" top: "classes"
  reshape_param { shape { dim: 4 dim: -1 dim: 0 } axis: 1 } }
"""
YAML = """
name: small
frontend:
  type: caffe
  checkpoint: {folder}/small.prototxt
  params: {folder}/{params}
  shape: {{data: {shape}}}
  ladder: {ladder}
backend: {{dtype: fp32}}
workspace: {{path: {folder}}}
"""


@pytest.fixture
def config_of(tmp_path):
    random = np.random.default_rng(0)
    shapes = {
        "conv": [(4, 3, 3, 3)],
        "bn": [4, 4, 1],
        "scale": [4, 4],
        "up": [(4, 1, 4, 4)],
        "score": [(4, 4, 1, 1), 4],
    }
    blobs = {name: [np.abs(random.standard_normal(shape)) for shape in each] for name, each in shapes.items()}
    (tmp_path / "small.prototxt").write_text(PROTOTXT)
    (tmp_path / "small.caffemodel").write_bytes(caffe_net.caffemodel_bytes(blobs))

    def config(shape, ladder=(), params="small.caffemodel"):
        text = YAML.format(folder=tmp_path, shape=list(shape), ladder=[list(each) for each in ladder], params=params)
        (tmp_path / "small.yaml").write_text(text)
        return load_build_config(tmp_path / "small.yaml")

    return config


@pytest.mark.skipif(not shutil.which("cc"), reason="compiling needs a C compiler (cc)")
@pytest.mark.parametrize("ladder", [[], [(2, 3, 24, 40)]], ids=["cropped", "ladder"])
def test_artifact_agrees_with_onnxruntime(config_of, tmp_path, ladder) -> None:
    shape = (1, 3, 16, 32) if ladder else (2, 3, 30, 27)
    artifact = compile_model(config_of(shape, ladder))
    assert (artifact.manifest.source.type, artifact.manifest.source.file) == ("caffe", "small.prototxt")
    assert len(artifact.manifest.source.metadata["caffemodel_sha256"]) == 64
    model = Model.open(artifact.prefix)
    for rung in artifact.manifest.ladder:
        at = model.at(rung)
        image = np.random.default_rng(1).standard_normal(rung.input.shape).astype(np.float32)
        onnx = import_caffe(tmp_path / "small.prototxt", tmp_path / "small.caffemodel", rung.input.shape)
        session = onnxruntime.InferenceSession(onnx.SerializeToString(), providers=["CPUExecutionProvider"])
        (expected,) = session.run(["classes"], {"data": image})
        np.testing.assert_allclose(at.infer(image)["classes"], expected, atol=1e-4)


def test_ladder_is_refused_where_the_net_crops_or_pads_otherwise(config_of, tmp_path) -> None:
    config = config_of((1, 3, 32, 32), [(1, 3, 64, 64), (1, 3, 30, 32)])
    with pytest.raises(
        CompileError, match=r"frontend.ladder: .* otherwise at \[1, 3, 30, 32\] than at \[1, 3, 32, 32\]"
    ):
        read_checkpoint(tmp_path / "small.prototxt", config.frontend)


def test_params_that_are_not_there_are_one_sentence(config_of, tmp_path) -> None:
    config = config_of((1, 3, 32, 32), params="other.caffemodel")
    with pytest.raises(CompileError, match=r"frontend.params: .*other.caffemodel does not exist"):
        read_checkpoint(tmp_path / "small.prototxt", config.frontend)
