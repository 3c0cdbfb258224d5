import pickle
import subprocess
import sys

import pytest

from facedeploy.core.errors import ConfigError
from facedeploy.models.specs import MODELS, find_model


def test_find_model_returns_the_spec_of_each_name() -> None:
    assert list(MODELS) == [
        "mobilenet0.25",
        "mobilenet0.25_relu",
        "Resnet50",
        "mobilenet0.25_FD1MB",
        "slim",
        "RFB",
        "lightDSFD",
        "DSFD",
    ]
    assert all(find_model(name).name == name for name in MODELS)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnet50", "Resnet50"),
        ("ResNet50", "Resnet50"),
        ("mobilenet0_25", "mobilenet0.25"),
        ("MobileNet0.25", "mobilenet0.25"),
        ("Slim", "slim"),
        ("light_DSFD", "lightDSFD"),
    ],
)
def test_find_model_names_the_nearest_when_the_name_is_close(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"got '{name}'.*did you mean {meant}\?"):
        find_model(name)


def test_find_model_lists_all_when_nothing_is_close() -> None:
    with pytest.raises(ConfigError) as caught:
        find_model("yolo")
    assert all(name in str(caught.value) for name in MODELS)
    assert "did you mean" not in str(caught.value)


def test_specs_are_plain_values() -> None:
    for spec in MODELS.values():
        assert pickle.loads(pickle.dumps(spec)) == spec
        assert hash(spec) is not None
    assert MODELS["mobilenet0.25"].activation == "LeakyReLU 0.1"
    assert MODELS["mobilenet0.25_relu"].activation == MODELS["Resnet50"].activation == "ReLU"


def test_specs_need_no_torch() -> None:
    code = "import sys, facedeploy.models.specs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
