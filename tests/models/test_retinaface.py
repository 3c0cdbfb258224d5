import pytest
import torch
from torch import nn

from facedeploy.models.layers import LeakyReLU
from facedeploy.models.retinaface import RetinaFace
from facedeploy.models.specs import MODELS


def meta_net(name: str) -> RetinaFace:
    with torch.device("meta"):
        return RetinaFace(MODELS[name]).eval()


@pytest.mark.parametrize(
    ("name", "count"), [("mobilenet0.25", 426_608), ("mobilenet0.25_relu", 426_608), ("Resnet50", 27_293_600)]
)
def test_parameters_are_as_published(name: str, count: int) -> None:
    assert sum(parameter.numel() for parameter in meta_net(name).parameters()) == count == MODELS[name].parameters


def test_resnet50_has_the_names_of_torchvision_and_pytorch_retinaface() -> None:
    shapes = {name: list(value.shape) for name, value in meta_net("Resnet50").state_dict().items()}
    # torchvision's resnet50 has 320 entries, two of them the classifier's.
    assert sum(name.startswith("body.") for name in shapes) == 318
    expected = {
        "body.conv1.weight": [64, 3, 7, 7],
        "body.bn1.running_var": [64],
        "body.layer1.0.conv1.weight": [64, 64, 1, 1],
        "body.layer1.0.downsample.0.weight": [256, 64, 1, 1],
        "body.layer1.0.downsample.1.num_batches_tracked": [],
        "body.layer2.0.conv2.weight": [128, 128, 3, 3],
        "body.layer3.5.conv3.weight": [1024, 256, 1, 1],
        "body.layer4.2.bn3.bias": [2048],
        "fpn.output1.0.weight": [256, 512, 1, 1],
        "fpn.output3.0.weight": [256, 2048, 1, 1],
        "fpn.merge2.1.running_mean": [256],
        "ssh1.conv3X3.0.weight": [128, 256, 3, 3],
        "ssh3.conv7x7_3.1.weight": [64],
        "ClassHead.0.conv1x1.weight": [4, 256, 1, 1],
        "BboxHead.1.conv1x1.bias": [8],
        "LandmarkHead.2.conv1x1.weight": [20, 256, 1, 1],
    }
    assert {name: shapes[name] for name in expected} == expected


@pytest.mark.parametrize(("name", "slope"), [("mobilenet0.25", 0.1), ("mobilenet0.25_relu", 0.0), ("Resnet50", 0.0)])
def test_every_activation_has_the_slope_of_the_model(name: str, slope: float) -> None:
    activations = [module for module in meta_net(name).modules() if isinstance(module, nn.LeakyReLU)]
    assert {activation.negative_slope for activation in activations} == {slope}
    x = torch.linspace(-2, 2, 9)
    torch.testing.assert_close(LeakyReLU(slope)(x), torch.where(x > 0, x, slope * x))


def test_a_slope_of_zero_is_traced_as_relu() -> None:
    kinds = {slope: str(torch.jit.trace(LeakyReLU(slope), torch.zeros(1)).graph) for slope in (0.0, 0.1)}
    assert "aten::relu" in kinds[0.0]
    assert "aten::leaky_relu" in kinds[0.1]
