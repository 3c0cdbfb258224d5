"""`frontend.params` or `random_weights` is there exactly where the checkpoint of a type has no parameters."""

from typing import Any

import pytest

from facedeploy.config.build_config import BuildConfig, notes
from facedeploy.config.validate import validate
from facedeploy.core.errors import ConfigError


def config(**frontend: Any) -> BuildConfig:
    known = {"checkpoint": "net", "shape": {"data": [1, 3, 32, 32]}}
    data = {"name": "m", "frontend": known | frontend, "backend": {"dtype": "fp32"}, "workspace": {"path": "out"}}
    return validate(BuildConfig, data, "it.yaml")


@pytest.mark.parametrize("kind", ["caffe", "mxnet"])
def test_other_frameworks_take_a_file_of_parameters(kind: str) -> None:
    assert config(type=kind, params="net.params").frontend.params == "net.params"


@pytest.mark.parametrize(("kind", "file"), [("caffe", ".caffemodel"), ("mxnet", ".params")])
def test_a_net_without_parameters_is_an_error(kind: str, file: str) -> None:
    with pytest.raises(ConfigError, match=rf"frontend.params: is missing, type {kind} needs it: the {file} of the"):
        config(type=kind)


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_parameters_beside_a_checkpoint_that_has_them_are_an_error(kind: str) -> None:
    with pytest.raises(
        ConfigError, match=f"frontend.params: is for type .*caffe.* only, the checkpoint of {kind} has all"
    ):
        config(type=kind, params="net.caffemodel")


def test_a_seed_stands_for_the_parameters_and_a_note_says_so() -> None:
    drawn = config(type="mxnet", random_weights=7)
    assert (drawn.frontend.random_weights, drawn.frontend.params) == (7, None)
    assert [line for line in notes(drawn) if "weights are random, seed 7: " in line] == list(notes(drawn)) != []
    both = config(type="mxnet", random_weights=0, params="net.params")
    assert "weights are random, seed 0, and net.params is not read: " in notes(both)[0]
    assert not notes(config(type="mxnet", params="net.params"))


@pytest.mark.parametrize("kind", ["onnx", "torchscript", "caffe"])
def test_a_seed_for_weights_that_come_from_files_is_an_error(kind: str) -> None:
    params = {"params": "net.caffemodel"} if kind == "caffe" else {}
    with pytest.raises(ConfigError, match=f"frontend.random_weights: is for type mxnet only, the weights of {kind} "):
        config(type=kind, random_weights=0, **params)


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5, "a"])
def test_what_is_no_seed_is_an_error(seed: object) -> None:
    with pytest.raises(ConfigError, match=r"random_weights.*expected a seed, a whole number of 0 or more"):
        config(type="mxnet", random_weights=seed)
