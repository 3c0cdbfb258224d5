"""A build config of type mxnet: both files are found, imported and compiled."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_symbol import Net

from facedeploy.compiler.build import compile_model
from facedeploy.config.build_config import Backend, BuildConfig, Frontend, Workspace
from facedeploy.core.errors import CheckpointError, CompileError
from facedeploy.importers.mxnet.import_mxnet import import_mxnet, import_random
from facedeploy.runtime.model import Model

SHAPE = (1, 3, 64, 96)
TALLER = (1, 3, 128, 64)


def small_detector() -> tuple[Net, tuple[int, ...]]:
    """Two strides, joined by upsampling, with a softmax over pairs of scores: as the MXNet RetinaFace nets have it."""
    net = Net()
    level = net.add("_div_scalar", net.add("_minus_scalar", net.data, scalar=127.5), scalar=127.5)
    levels = []
    for channels, filters in ((3, 8), (8, 16), (16, 16)):
        level = net.convolution(level, channels, filters, (3, 3), stride=(2, 2), pad=(1, 1), no_bias=True)
        level = net.add("Activation", net.batch_norm(level, filters, fix_gamma=False), act_type="relu")
        levels.append(level)
    up = net.add("UpSampling", levels[2], scale=2, sample_type="nearest", num_args=1)
    joined = net.add("elemwise_add", net.add("Crop", up, levels[1], num_args=2), levels[1])
    scores = net.convolution(joined, 16, 4)
    pairs = net.add("SoftmaxActivation", net.add("Reshape", scores, shape=(0, 2, -1, 0)), mode="channel")
    return net, (net.add("Reshape", pairs, shape=(0, 4, -1, 0)), net.convolution(levels[2], 16, 8))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> BuildConfig:
    folder = tmp_path_factory.mktemp("mxnet")
    net, heads = small_detector()
    symbol, params = net.write(folder, *heads)
    frontend = Frontend("mxnet", str(symbol), {"data": SHAPE}, ladder=(TALLER,), params=str(params))
    return BuildConfig("net", frontend, Backend("fp32"), Workspace(str(folder)))


def test_compiled_net_computes_what_onnxruntime_computes_at_both_shapes(
    config: BuildConfig, run_onnx: Any, check_close: Any
) -> None:
    artifact = compile_model(config)
    frontend = config.frontend
    assert frontend.params is not None
    model = Model.open(artifact.prefix)
    for rung, shape in zip(artifact.manifest.ladder, (SHAPE, TALLER), strict=True):
        imported = import_mxnet(Path(frontend.checkpoint), Path(frontend.params), shape)
        image = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
        check_close(model.at(rung).infer(image), run_onnx(imported, image))
    source = artifact.manifest.source
    assert (source.type, source.file) == ("mxnet", "net-symbol.json")
    assert source.metadata["params"] == "net-0000.params"
    assert len(source.metadata["params_sha256"]) == 64


def test_random_weights_take_the_place_of_the_file_at_both_shapes(
    config: BuildConfig, tmp_path: Path, run_onnx: Any, check_close: Any
) -> None:
    frontend = replace(config.frontend, params="no.params", random_weights=3)
    artifact = compile_model(replace(config, frontend=frontend, workspace=Workspace(str(tmp_path))))
    assert artifact.manifest.source.metadata["params"] == "random, seed 3"
    model, symbol = Model.open(artifact.prefix), Path(frontend.checkpoint)
    for rung, shape in zip(artifact.manifest.ladder, (SHAPE, TALLER), strict=True):
        image = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
        outputs = model.at(rung).infer(image)
        check_close(outputs, run_onnx(import_random(symbol, 3, shape), image))
        other = run_onnx(import_random(symbol, 4, shape), image)
        assert all(np.abs(outputs[name] - other[name]).max() > 1e-2 for name in other)


def test_missing_params_say_how_to_name_others(config: BuildConfig, tmp_path: Path) -> None:
    frontend = replace(config.frontend, params=str(tmp_path / "no.params"))
    with pytest.raises(
        CompileError, match=r"frontend\.params: .*no\.params does not exist .* --set frontend\.params=X"
    ):
        compile_model(replace(config, frontend=frontend))


def test_input_of_another_name_is_refused(config: BuildConfig) -> None:
    frontend = replace(config.frontend, shape={"input": SHAPE})
    with pytest.raises(CompileError, match=r"frontend\.shape: got an input 'input', the input of .* is data: \[1, 3,"):
        compile_model(replace(config, frontend=frontend))


def test_symbol_that_is_not_covered_is_refused_as_it_is_by_the_importer(config: BuildConfig, tmp_path: Path) -> None:
    symbol = json.loads(Path(config.frontend.checkpoint).read_text())
    symbol["nodes"][-1]["op"] = "Correlation"
    (tmp_path / "s.json").write_text(json.dumps(symbol))
    with pytest.raises(CheckpointError, match=r"s\.json: node conv\d+ \(Correlation\): the operator .* is not covered"):
        compile_model(replace(config, frontend=replace(config.frontend, checkpoint=str(tmp_path / "s.json"))))
