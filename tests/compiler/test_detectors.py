"""Whole detectors, ours and other people's, compute what onnxruntime computes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from differential import BOUND, worst_difference

from facedeploy.compiler.target import Target
from facedeploy.export.export_model import export_model
from facedeploy.export.random_weights import random_weights
from facedeploy.models.specs import MODELS


@pytest.mark.parametrize(
    ("file", "largest"), [("scrfd_500m_kps.hpc203.onnx", 1.0), ("yunet_n_640_640.ShiqiYu.onnx", 255.0)]
)
def test_detector_computes_what_onnxruntime_computes_on_a_small_canvas(
    file: str, largest: float, shared_data: Path, target: Target
) -> None:
    path = shared_data / "weights" / file
    if not path.is_file():
        pytest.skip(f"no {path}")
    model = onnx.load(path)
    # Both files name 640x640 and hold no other number that depends on it.
    for tensor in [*model.graph.input, *model.graph.output]:
        for side in tensor.type.tensor_type.shape.dim[1:]:
            side.ClearField("value")
    del model.graph.value_info[:]
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
    image = np.random.default_rng(0).uniform(-largest / 2, largest / 2, (1, 3, 64, 96)).astype(np.float32)
    assert worst_difference(model, image, target) <= BOUND


def test_retinaface_computes_what_onnxruntime_computes_for_an_odd_batch(tmp_path: Path, target: Target) -> None:
    spec = MODELS["mobilenet0.25"]
    report = export_model(spec, (96, 160), weights=random_weights(spec, 0), batch=5, output_dir=tmp_path)
    image = np.random.default_rng(0).uniform(-128, 128, (5, 3, 96, 160)).astype(np.float32)
    assert worst_difference(onnx.load(report.onnx.path), image, target) <= BOUND
