"""`frontend.params` is there exactly where the checkpoint of a type has no parameters."""

from typing import Any

import pytest

from facedeploy.config.build_config import BuildConfig
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
