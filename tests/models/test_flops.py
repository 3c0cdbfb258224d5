import pytest
import torch

from facedeploy.models.flops import count_flops
from facedeploy.models.retinaface import RetinaFace
from facedeploy.models.specs import MODELS


@pytest.mark.parametrize(
    ("name", "side", "convolutions"),
    [
        ("mobilenet0.25", 320, 245_286_400),
        ("mobilenet0.25", 640, 4 * 245_286_400),
        ("Resnet50", 320, 11_066_163_200),
        ("Resnet50", 640, 4 * 11_066_163_200),
    ],
)
def test_flops_are_as_published(name: str, side: int, convolutions: int) -> None:
    spec = MODELS[name]
    with torch.device("meta"):
        net = RetinaFace(spec).eval()
    flops = count_flops(net, (side, side))
    assert flops.convolutions == convolutions
    published = dict(spec.published_flops)[side]
    assert abs(flops.total - published) <= (0.5e6 if published >= 1e9 else 0.5e3)


def test_flops_count_without_traces_left_on_the_net() -> None:
    net = RetinaFace(MODELS["mobilenet0.25"]).eval()
    first, second = count_flops(net, (64, 96)), count_flops(net, (64, 96))
    assert first == second
    assert not any(module._forward_hooks for module in net.modules())
