"""RetinaFace: backbone, feature pyramid, context modules, heads (arXiv:1905.00641; Pytorch_Retinaface).

Attribute names are those of Pytorch_Retinaface, mixed case and all, since they are the names in its checkpoints.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from facedeploy.models.layers import concat, conv_bn, per_prior, predictor, upsample_like
from facedeploy.models.mobilenet import MobileNetV1
from facedeploy.models.resnet import ResNet50
from facedeploy.models.specs import ModelSpec

Features = tuple[Tensor, Tensor, Tensor]


class FPN(nn.Module):
    """Feature pyramid (arXiv:1612.03144): 1x1 laterals, top-down sums, a 3x3 after each sum."""

    def __init__(self, feature_channels: tuple[int, int, int], channels: int, slope: float) -> None:
        super().__init__()
        self.output1, self.output2, self.output3 = (conv_bn(c, channels, 1, slope=slope) for c in feature_channels)
        self.merge1 = conv_bn(channels, channels, 3, slope=slope)
        self.merge2 = conv_bn(channels, channels, 3, slope=slope)

    def forward(self, features: Features) -> Features:
        """Three maps, finest first -> three maps of the same sizes and `channels` channels."""
        stride8, stride16, stride32 = self.output1(features[0]), self.output2(features[1]), self.output3(features[2])
        stride16 = self.merge2(stride16 + upsample_like(stride32, stride16))
        stride8 = self.merge1(stride8 + upsample_like(stride16, stride8))
        return stride8, stride16, stride32


class SSH(nn.Module):
    """Context module of the SSH detector (arXiv:1708.03979): 3x3, 5x5 and 7x7 fields, the larger from stacked 3x3."""

    def __init__(self, channels: int, slope: float) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.conv3X3 = conv_bn(channels, half, 3)
        self.conv5X5_1 = conv_bn(channels, quarter, 3, slope=slope)
        self.conv5X5_2 = conv_bn(quarter, quarter, 3)
        self.conv7X7_2 = conv_bn(quarter, quarter, 3, slope=slope)
        self.conv7x7_3 = conv_bn(quarter, quarter, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        shared = self.conv5X5_1(x)
        fields = [self.conv3X3(x), self.conv5X5_2(shared), self.conv7x7_3(self.conv7X7_2(shared))]
        return F.relu(concat(fields))


class Head(nn.Module):
    """1x1 convolution that gives each prior of each cell `values` numbers."""

    def __init__(self, channels: int, priors_per_cell: int, values: int) -> None:
        super().__init__()
        self.values = values
        self.conv1x1 = predictor(channels, priors_per_cell, values)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, h * w * priors_per_cell, values), row major."""
        return per_prior(self.conv1x1(x), self.values)


class RetinaFace(nn.Module):
    """(N, 3, H, W) pixels minus mean -> loc (N, P, 4), conf (N, P, 2) after softmax, landms (N, P, 10)."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        slope = spec.negative_slope
        self.body = ResNet50() if spec.backbone == "Resnet50" else MobileNetV1(slope)
        channels = 256 if spec.backbone == "Resnet50" else 64
        self.fpn = FPN(self.body.channels, channels, slope)
        self.ssh1, self.ssh2, self.ssh3 = (SSH(channels, slope) for _ in spec.priors.strides)
        self.ClassHead, self.BboxHead, self.LandmarkHead = (
            nn.ModuleList(Head(channels, len(sizes), values) for sizes in spec.priors.min_sizes)
            for values in (2, 4, 10)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encoded boxes, probabilities of background and face, encoded landmarks."""
        pyramid = self.fpn(self.body(x))
        contexts = [ssh(level) for ssh, level in zip((self.ssh1, self.ssh2, self.ssh3), pyramid, strict=True)]
        loc, conf, landms = (
            concat([head(context) for head, context in zip(heads, contexts, strict=True)])
            for heads in (self.BboxHead, self.ClassHead, self.LandmarkHead)
        )
        return loc, F.softmax(conf, dim=-1), landms
