from collections.abc import Callable
from functools import cache
from pathlib import Path

import oracles
import pytest
import torch
from torch import Tensor, nn

from facedeploy.export.random_weights import random_weights
from facedeploy.export.weights import build_net
from facedeploy.models.layers import upsample_product
from facedeploy.models.nets import new_net
from facedeploy.models.specs import MODELS

FILES = {
    "mobilenet0.25": "mobilenet0.25_Final.pth",
    "mobilenet0.25_relu": "mobilenet0.25_relu_2019-09.pth",
    "mobilenet0.25_FD1MB": "mobilenet0.25_FD1MB_Final.pth",
    "slim": "slim_Final.pth",
    "RFB": "RFB_Final.pth",
    "lightDSFD": "light_DSFD.pth",
}
WITHOUT_LANDMARKS = ("lightDSFD", "DSFD")


@cache
def meta_net(name: str) -> nn.Module:
    with torch.device("meta"):
        return new_net(MODELS[name]).eval()


def read(shared_data: Path, name: str) -> dict[str, Tensor]:
    state = torch.load(shared_data / "weights" / FILES[name], map_location="cpu", weights_only=True)
    return {key.removeprefix("module."): value for key, value in state.items() if "num_batches" not in key}


@pytest.mark.parametrize("name", FILES)
def test_names_shapes_and_order_are_those_of_the_checkpoint(shared_data: Path, name: str) -> None:
    got = {key: value.shape for key, value in meta_net(name).state_dict().items() if "num_batches" not in key}
    expected = {key: value.shape for key, value in read(shared_data, name).items()}
    assert list(got.items()) == list(expected.items())


@pytest.mark.parametrize("name", FILES)
def test_parameters_are_those_of_the_checkpoint(shared_data: Path, name: str) -> None:
    values = sum(value.numel() for key, value in read(shared_data, name).items() if "running_" not in key)
    assert sum(parameter.numel() for parameter in meta_net(name).parameters()) == values == MODELS[name].parameters


def test_dsfd_is_as_large_as_its_parts_and_as_the_published_file() -> None:
    def conv(in_channels: int, out_channels: int, side: int) -> int:
        return out_channels * (in_channels * side**2 + 1)

    resnet152 = 60_192_808 - 2_049_000  # torchvision's, without its classifier.
    layer5 = conv(2048, 512, 1) + conv(512, 512, 3) + 4 * 512
    layer6 = conv(512, 128, 1) + conv(128, 256, 3) + 2 * (128 + 256)
    pyramid = sum(conv(2 * c, c, 1) + conv(c, c, 1) for c in (256, 512, 1024))
    contexts = sum(2 * conv(c, 256, 3) + 2 * conv(256, 128, 3) + conv(128, 128, 3) for c in (256, 512, 1024, 2048))
    contexts += sum(2 * conv(c, 256, 3) + 2 * conv(256, 128, 3) + conv(128, 128, 3) for c in (512, 256))
    outputs = (4, 8, 12, 12, 12, 12, 4, 6, 8, 8, 8, 8)
    heads = sum(conv(512, 256, 3) + 2 * conv(256, 256, 3) + conv(256, count, 1) for count in outputs)
    net = meta_net("DSFD")
    count = resnet152 + layer5 + layer6 + pyramid + contexts + heads
    assert sum(parameter.numel() for parameter in net.parameters()) == count == MODELS["DSFD"].parameters
    # WIDERFace_DSFD_RES152.pth has 481,004,605 bytes, of which names and records take some 150 a tensor.
    tensors = net.state_dict().values()
    size = sum(value.numel() * value.element_size() for value in tensors)
    assert 100 * len(tensors) < 481_004_605 - size < 200 * len(tensors)


@pytest.mark.parametrize("hw", [(64, 96), (100, 75)])
@pytest.mark.parametrize(
    ("name", "forward"),
    [
        ("mobilenet0.25_relu", oracles.retinaface),
        ("mobilenet0.25_FD1MB", oracles.retinaface),
        ("slim", oracles.slim),
        ("RFB", oracles.slim),
        ("lightDSFD", oracles.light_dsfd),
    ],
)
def test_net_computes_what_plain_functions_of_the_checkpoint_compute(
    shared_data: Path, name: str, forward: Callable[[dict[str, Tensor], Tensor], list[Tensor]], hw: tuple[int, int]
) -> None:
    state = {key: value.double() for key, value in read(shared_data, name).items()}
    net = new_net(MODELS[name]).double().eval()
    net.load_state_dict(state, strict=False)
    x = torch.empty(1, 3, *hw, dtype=torch.float64).uniform_(-123, 151, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        got, expected = net(x), forward(state, x)
    assert [list(output.shape) for output in got] == [list(output.shape) for output in expected]
    for a, b in zip(got, expected, strict=True):
        assert float((a - b).abs().max()) <= 1e-9 * float(b.abs().max())


def test_dsfd_computes_what_plain_functions_of_its_weights_compute() -> None:
    weights = random_weights(MODELS["DSFD"], 0)
    net = build_net(MODELS["DSFD"], weights)
    x = torch.empty(1, 3, 70, 45).uniform_(-123, 151, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        got, expected = net(x), oracles.dsfd(dict(weights.state), x)
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        assert float((a - b).abs().max()) <= 1e-4 * float(b.abs().max())
    # The levels' scores are seen at all: some of every level differ from the rest.
    assert float(got[1][..., 1].std()) > 0


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("hw", [(64, 64), (97, 131), (33, 165), (1, 1)])
def test_outputs_have_one_row_per_prior(name: str, hw: tuple[int, int]) -> None:
    with torch.inference_mode():
        outputs = meta_net(name)(torch.empty(2, 3, *hw, device="meta"))
    count = MODELS[name].priors.count(hw)
    widths = {"loc": 4, "conf": 2} if name in WITHOUT_LANDMARKS else {"loc": 4, "conf": 2, "landms": 10}
    assert MODELS[name].outputs == tuple(widths)
    assert [tuple(output.shape) for output in outputs] == [(2, count, width) for width in widths.values()]


@pytest.mark.parametrize("hw", [(32, 32), (33, 165), (1, 1)])
@pytest.mark.parametrize("name", ["mobilenet0.25", "slim", "RFB", "lightDSFD"])
def test_any_canvas_can_be_computed(name: str, hw: tuple[int, int]) -> None:
    with torch.inference_mode():
        conf = new_net(MODELS[name]).eval()(torch.zeros(2, 3, *hw))[1]
    torch.testing.assert_close(conf.sum(-1), torch.ones(conf.shape[:2]))


def test_corners_lie_on_corners_when_a_level_is_resized() -> None:
    coarse = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    fine = upsample_product(coarse, torch.full((1, 1, 3, 3), 2.0))
    torch.testing.assert_close(fine[0, 0], torch.tensor([[2.0, 4.0, 6.0], [6.0, 8.0, 10.0], [10.0, 12.0, 14.0]]))
