"""Pixels of a model of integers: stored as they are where they are its integers, to the bit what the floats give."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facedeploy.compiler.build import compile_model
from facedeploy.compiler.kernels.byte_window import byte_window
from facedeploy.compiler.target import resolve_target
from facedeploy.config.vdsp_params import VdspParams
from facedeploy.image import operations
from facedeploy.image.vdsp import preprocess
from facedeploy.runtime.face_detector import letterbox_params
from facedeploy.runtime.model import Model

from conftest import PIXELS, MakeConfig  # isort: skip

HW = (24, 40)


def quantized_model(scale: list[float], zero_point: list[int], path: Path) -> Path:
    rng = np.random.default_rng(0)
    weights = {
        "scale": np.array(scale, np.float32),
        "zero": np.array(zero_point, np.uint8),
        "integers": rng.integers(-127, 128, (8, 3, 3, 3), np.int8),
        "steps": np.full(8, 0.01, np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["q"], axis=1),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], axis=1),
        helper.make_node("DequantizeLinear", ["integers", "steps"], ["w"], axis=0),
        helper.make_node("Conv", ["d", "w"], ["output"], pads=[1, 1, 1, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [2, 3, *HW])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [2, 8, *HW])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(
    ("scale", "zero_point", "stored"),
    [([1.0] * 3, [104, 117, 123], True), ([1.0] * 3, [104, 117, 124], False), ([1.1] * 3, [104, 117, 123], False)],
)
def test_pixels_give_what_their_floats_give(
    make_config: MakeConfig, tmp_path: Path, scale: list[float], zero_point: list[int], stored: bool
) -> None:
    checkpoint = quantized_model(scale, zero_point, tmp_path / "net.onnx")
    artifact = compile_model(make_config(checkpoint, tmp_path, (2, 3, *HW), pixels=PIXELS))
    (rung,) = artifact.manifest.ladder
    assert (rung.integers is not None) == stored
    model = Model.open(artifact.prefix)
    assert model.manifest.normalization is not None
    pixels = np.random.default_rng(1).integers(0, 256, (2, *HW, 3), np.uint8)
    tensor = np.stack([operations.normalize(canvas, model.manifest.normalization) for canvas in pixels])
    params = letterbox_params(artifact)
    compiled = byte_window(resolve_target("host")) is not None
    check_images(model, params, "uint8" if stored and compiled else "float32")
    check_images(model, replace(params, mean=(104.0, 117.0, 122.0)), "float32")
    for start in (0, 1):  # Wherever the canvas lies in memory.
        memory = np.zeros(pixels.size + 1, np.uint8)
        placed = memory[start : start + pixels.size].reshape(pixels.shape)
        placed[...] = pixels
        assert np.array_equal(model.infer_pixels(placed)["output"], model.infer(tensor)["output"])


def check_images(model: Model, params: VdspParams, dtype: str) -> None:
    """An image of another size and order, on a canvas that has room left: as by numpy, by what is quickest."""
    images = np.random.default_rng(2).integers(0, 256, (2, 50, 60, 3), np.uint8)
    maker = model.input_maker(params)
    batch = maker.new_batch()
    assert batch.array.dtype == dtype
    for position, image in enumerate(images):
        maker.lay(image, "RGB", maker.place((50, 60)), batch, position)
    tensor = np.stack([preprocess(image, params, "RGB")[0] for image in images])
    assert np.array_equal(model.infer_batch(batch)["output"], model.infer(tensor)["output"])
