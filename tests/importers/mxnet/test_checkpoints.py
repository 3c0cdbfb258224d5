"""Real checkpoints, and symbols that come without weights."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from evaluate_symbol import evaluate_symbol
from small_symbol import check_outputs

from facedeploy.importers.mxnet.import_mxnet import import_mxnet
from facedeploy.importers.mxnet.params import read_params
from facedeploy.importers.mxnet.random_params import random_params
from facedeploy.importers.mxnet.symbol import read_symbol
from facedeploy.importers.mxnet.to_onnx import find_stored, to_onnx

CHECKPOINTS = {
    "mnet.25-symbol.json": "mnet.25-0000.params",
    "16-symbol.json": "16-0000.params",
    "16and32-symbol.json": "16and32-0000.params",
    "8and16-symbol.json": "8and16-0000.params",
    "lffd/symbol_10_160_17L_4scales_v1_deploy.json": "lffd/train_10_160_17L_4scales_v1_iter_800000.params",
    "lffd/symbol_64_512_16L_3scales_v1_deploy.json": "lffd/train_64_512_16L_3scales_v1_iter_1000000.params",
    "lffd/symbol_64_512_16L_3scales_v1_small_deploy.json": "lffd/train_64_512_16L_3scales_v1_small_iter_1000000.params",
}
WITHOUT_PARAMS = ("lffd/symbol_10_560_25L_8scales_v1_deploy.json", "lffd/symbol_10_320_20L_5scales_v2_deploy.json")


def canvas_of(symbol: str) -> tuple[int, int, int, int]:
    """The licence plate nets, whose convolutions have no padding, need more pixels."""
    return (1, 3, 192, 160) if "64_512" in symbol else (1, 3, 96, 64)


@pytest.fixture
def folder(shared_data: Path) -> Path:
    folder = shared_data / "weights/mxnet"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


@pytest.mark.parametrize("symbol", CHECKPOINTS)
def test_checkpoint_computes_what_numpy_makes_of_it(folder: Path, symbol: str) -> None:
    params, shape = folder / CHECKPOINTS[symbol], canvas_of(symbol)
    model = import_mxnet(folder / symbol, params, shape)
    image = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    expected = evaluate_symbol(json.loads((folder / symbol).read_text()), read_params(params), image)
    check_outputs(model, expected, image)
    assert {entry.key: entry.value for entry in model.metadata_props}["params"] == params.name


@pytest.mark.parametrize("name", WITHOUT_PARAMS)
def test_random_parameters_keep_activations_finite(folder: Path, name: str) -> None:
    symbol, shape = read_symbol(folder / name), (1, 3, 192, 160)
    drawn = random_params(symbol, shape, seed=3)
    again, others = random_params(symbol, shape, seed=3), random_params(symbol, shape, seed=4)
    assert all((array == again[key]).all() for key, array in drawn.items())
    assert any((array != others[key]).any() for key, array in drawn.items())
    model = to_onnx(symbol, find_stored(drawn, "random"), shape)
    image = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"data": image})
    assert len(outputs) == len(symbol.heads)
    assert all(np.isfinite(output).all() and np.abs(output).max() < 1e4 for output in outputs)
    scores, boxes = outputs[0], outputs[1]
    assert scores.std() > 1e-3
    assert boxes.std() > 1e-3
