"""Which convolutions `skip_conv_layers` means."""

import pytest
from onnx import helper

from facedeploy.core.errors import ConfigError
from facedeploy.quantize.layers import convolution_names, selected_layers

NAMES = ["/stem/Conv", "/ssh1/a/Conv", "/ssh1/b/Conv", "/ssh2/a/Conv", "odd[0]"]


@pytest.mark.parametrize(
    ("wanted", "indices"),
    [
        ([], set()),
        ([0, 3], {0, 3}),
        (["/ssh1/b/Conv"], {2}),
        (["/ssh1/*", 0], {0, 1, 2}),
        (["*"], {0, 1, 2, 3, 4}),
        (["odd[0]"], {4}),
    ],
)
def test_index_name_or_pattern(wanted, indices):
    assert selected_layers(NAMES, wanted, "key") == indices


def test_unknown_name_is_one_sentence_with_the_nearest():
    with pytest.raises(ConfigError, match=r"^skip: .*'/ssh1/b/Covn'.*the nearest name is /ssh1/b/Conv$"):
        selected_layers(NAMES, ["/ssh1/b/Covn"], "skip")


def test_index_past_the_end_is_one_sentence_with_the_limits():
    with pytest.raises(ConfigError, match=r"^skip: got 5, the model has 5 convolutions, expected 0 to 4$"):
        selected_layers(NAMES, [5], "skip")


def test_model_without_convolutions_has_none_to_skip():
    with pytest.raises(ConfigError, match="no convolutions"):
        selected_layers([], [0], "skip")
    with pytest.raises(ConfigError, match="no convolutions"):
        selected_layers([], ["*"], "skip")


def test_convolution_without_a_name_of_its_own_is_called_after_its_output():
    nodes = [helper.make_node("Conv", ["x", "w"], [f"out{index}"], name=name) for index, name in enumerate("aab")]
    nodes.append(helper.make_node("Conv", ["x", "w"], ["out3"]))
    model = helper.make_model(helper.make_graph(nodes, "g", [], []))
    assert convolution_names(model) == ["out0", "out1", "b", "out3"]
