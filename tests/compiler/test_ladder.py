"""Several shapes in one artifact."""

import numpy as np
import onnx
import onnxruntime
import pytest

from facedeploy.artifact.manifest import calls_of
from facedeploy.artifact.store import open_artifact
from facedeploy.compiler.build import compile_model
from facedeploy.compiler.frontend.reshape_onnx import reshape_onnx
from facedeploy.config.load import load_build_config
from facedeploy.core.tensor_spec import bytes_of
from facedeploy.detect.slots import head_slots
from facedeploy.image import operations
from facedeploy.runtime.model import Model

SHAPES = [(1, 3, 96, 128), (3, 3, 96, 128), (1, 3, 64, 128), (1, 3, 128, 96)]


@pytest.fixture(scope="module")
def models(tiny_ladder) -> list[Model]:
    """One instance, at each shape."""
    model = Model.open(tiny_ladder.prefix)
    return [model.at(rung) for rung in model.manifest.ladder]


def test_manifest_lists_the_shapes_in_the_order_of_the_config(models) -> None:
    ladder = models[0].manifest.ladder
    assert [rung.input.shape for rung in ladder] == SHAPES
    assert [rung.suffix for rung in ladder] == ["", "_3x3x96x128", "_1x3x64x128", "_1x3x128x96"]
    assert [(model.batch, model.canvas_hw) for model in models] == [(b, (h, w)) for b, _, h, w in SHAPES]
    assert models[0].at(ladder[0]) is models[0]


@pytest.mark.parametrize("index", range(len(SHAPES)))
def test_each_shape_equals_onnxruntime(models, tiny_ladder, index) -> None:
    model, shape = models[index], SHAPES[index]
    net = onnx.load(tiny_ladder.onnx)
    net = reshape_onnx(net, models[0].rung.input, model.rung.input)
    image = np.random.default_rng(index).normal(0, 50, shape).astype(np.float32)
    session = onnxruntime.InferenceSession(net.SerializeToString(), providers=["CPUExecutionProvider"])
    got = model.infer(image)
    for spec, expected in zip(model.rung.outputs, session.run(None, {"input": image}), strict=True):
        assert got[spec.name].shape == spec.shape == expected.shape
        np.testing.assert_allclose(got[spec.name], expected, rtol=0, atol=1e-4 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("index", range(len(SHAPES)))
def test_pixels_and_boxes_of_each_shape(models, index) -> None:
    """By the normalization and the decoding of numpy."""
    model, (batch, _, height, width) = models[index], SHAPES[index]
    manifest = model.manifest
    pixels = np.random.default_rng(index).integers(0, 256, (batch, height, width, 3), np.uint8)
    outputs = model.infer_pixels(pixels)
    tensor = np.stack([operations.normalize(canvas, manifest.normalization) for canvas in pixels])
    for name, expected in model.infer(tensor).items():
        np.testing.assert_array_equal(outputs[name], expected)
    post = manifest.postprocess
    slots = model.detect(outputs)
    for got, wanted in zip(slots, head_slots(*outputs.values(), post.head, (height, width), post.nms), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-3)
    assert (slots.scores > 0).any()


def test_shapes_share_the_weights(tiny_ladder, tiny_artifact) -> None:
    """What one shape reads, most of the others read at the same place."""
    ladder, alone = open_artifact(tiny_ladder.prefix), open_artifact(tiny_artifact.prefix)
    read = [
        {at for call in rung.calls for at in call.arguments if at.region == "parameters"}
        for rung in ladder.manifest.ladder
    ]
    together = sum(bytes_of(at.shape, at.dtype) for at in set().union(*read))
    assert together < 0.5 * sum(bytes_of(at.shape, at.dtype) for parts in read for at in parts)
    assert ladder.params.stat().st_size < 2 * alone.params.stat().st_size
    names = [call.kernel.name for call in calls_of(ladder.manifest.ladder[1:])]
    assert not {call.kernel.name for call in ladder.manifest.base.calls} & set(names)


def test_half_precision_of_every_shape(tiny_ladder, models, tmp_path) -> None:
    """Weights that shapes share are stored once, and are rounded the same for all."""
    overrides = ["backend.dtype=fp16", f"workspace.path={tmp_path}"]
    compile_model(load_build_config(tiny_ladder.onnx.with_name("tiny.yaml"), overrides))
    half = Model.open(tmp_path / "tiny/mod")
    assert half.artifact.params.stat().st_size < 0.6 * models[0].artifact.params.stat().st_size
    for index, (full, rung) in enumerate(zip(models, half.manifest.ladder, strict=True)):
        image = np.random.default_rng(index).normal(0, 50, SHAPES[index]).astype(np.float32)
        expected = full.infer(image)
        for name, got in half.at(rung).infer(image).items():
            difference = np.sqrt(((got - expected[name]) ** 2).mean())
            assert 0 < difference < 1e-2 * np.sqrt((expected[name] ** 2).mean()), name
