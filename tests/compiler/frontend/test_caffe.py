"""`frontend.type: caffe`: what is compiled of a Caffe net computes what onnxruntime does of its ONNX."""

import shutil
import struct

import caffe_net
import numpy as np
import onnx
import onnxruntime
import pytest

from facedeploy.compiler.build import compile_model
from facedeploy.compiler.frontend.checkpoint import read_checkpoint
from facedeploy.compiler.quantize import quantize_model
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
backend: {backend}
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

    def config(shape, ladder=(), params="small.caffemodel", backend="{dtype: fp32}"):
        ladder = [list(each) for each in ladder]
        text = YAML.format(folder=tmp_path, shape=list(shape), ladder=ladder, params=params, backend=backend)
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
    opened = Model.open(artifact.prefix)
    for rung in artifact.manifest.ladder:
        image = np.random.default_rng(1).standard_normal(rung.input.shape).astype(np.float32)
        model = import_caffe(tmp_path / "small.prototxt", tmp_path / "small.caffemodel", rung.input.shape)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        (expected,) = session.run(["classes"], {"data": image})
        np.testing.assert_allclose(opened.at(rung).infer(image)["classes"], expected, atol=1e-4)


@pytest.mark.skipif(not shutil.which("cc"), reason="compiling needs a C compiler (cc)")
def test_int8_by_a_calibration_table_needs_no_images(config_of, tmp_path) -> None:
    shape = (1, 3, 16, 32)
    exact = import_caffe(tmp_path / "small.prototxt", tmp_path / "small.caffemodel", shape)
    exact.graph.output.append(onnx.helper.make_empty_tensor_value_info("sum"))
    image = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    session = onnxruntime.InferenceSession(exact.SerializeToString(), providers=["CPUExecutionProvider"])
    expected, added = session.run(["classes", "sum"], {"data": image})
    scales = {
        name: struct.pack(">f", np.abs(array).max() / 127).hex()
        # (Of scales that differ, so that no sum lies between two integers, where roundings of floats decide.)
        for name, array in {"data": image, "sum": added, "bn": np.sqrt(1.2) * added, "up": np.sqrt(1.7) * added}.items()
    }
    table = tmp_path / "small.table"
    table.write_text("TRT-5102-EntropyCalibration2\n" + "".join(f"{name}: {scale}\n" for name, scale in scales.items()))
    config = config_of(shape, backend=f"{{dtype: int8, quantize: {{ranges: {table}}}}}")
    said = []
    quantized = quantize_model(config, note=said.append)
    assert said[0].endswith("small.table has the ranges of 4 of 4 tensors")
    assert quantized.in_int8 == ("conv", "score")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        quantized.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (integers,) = session.run(["classes"], {"data": image})
    got = Model.open(compile_model(config).prefix).infer(image)["classes"]
    np.testing.assert_allclose(got, integers, atol=1e-3)
    assert 0 < np.abs(integers - expected).mean() < 0.01


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
