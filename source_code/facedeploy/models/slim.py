"""Slim and RFB: two small SSDs (arXiv:1512.02325) of separable convolutions (Face-Detector-1MB-with-landmark).

Attribute names are those of their checkpoints.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from facedeploy.models.layers import ConvNorm, concat, conv_bn, per_prior, predictor, separable_conv
from facedeploy.models.specs import ModelSpec

RELU = 0.0  # The slope of every activation here.


class RFB(nn.Module):
    """Receptive field block (arXiv:1711.07767): three branches of dilated convolutions, added to a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // 8
        wide = 2 * narrow
        self.branch0, self.branch1 = (
            nn.Sequential(
                ConvNorm(channels, narrow, 1, relu=False),
                ConvNorm(narrow, wide, 3),
                ConvNorm(wide, wide, 3, dilation=dilation, relu=False),
            )
            for dilation in (2, 3)
        )
        self.branch2 = nn.Sequential(
            ConvNorm(channels, narrow, 1, relu=False),
            ConvNorm(narrow, 3 * narrow // 2, 3),
            ConvNorm(3 * narrow // 2, wide, 3),
            ConvNorm(wide, wide, 3, dilation=5, relu=False),
        )
        self.ConvLinear = ConvNorm(3 * wide, channels, 1, relu=False)
        self.shortcut = ConvNorm(channels, channels, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        fields = concat([self.branch0(x), self.branch1(x), self.branch2(x)])
        return F.relu(self.ConvLinear(fields) + self.shortcut(x))


def depthwise(channels: int, stride: int = 1) -> nn.Conv2d:
    """3x3, with bias and without batch norm."""
    return nn.Conv2d(channels, channels, 3, stride, 1, groups=channels)


def heads(priors_per_cell: tuple[int, ...], values: int) -> nn.ModuleList:
    """Depthwise 3x3 (`0`) and 1x1 (`2`) for three levels, one 3x3 for the last."""
    channels = (64, 128, 256)
    *separable, last = priors_per_cell
    levels = [
        nn.Sequential(depthwise(c), nn.ReLU(), predictor(c, count, values))
        for c, count in zip(channels, separable, strict=True)
    ]
    return nn.ModuleList([*levels, predictor(channels[-1], last, values, kernel=3)])


class Slim(nn.Module):
    """(N, 3, H, W) pixels minus mean -> loc (N, P, 4), conf (N, P, 2) after softmax, landms (N, P, 10).

    With the backbone RFB, a receptive field block is in the place of the last convolution at stride 8.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.conv1 = conv_bn(3, 16, 3, stride=2, slope=RELU)
        self.conv2 = separable_conv(16, 32, 1, RELU)
        self.conv3 = separable_conv(32, 32, 2, RELU)
        self.conv4 = separable_conv(32, 32, 1, RELU)
        self.conv5 = separable_conv(32, 64, 2, RELU)
        self.conv6 = separable_conv(64, 64, 1, RELU)
        self.conv7 = separable_conv(64, 64, 1, RELU)
        self.conv8 = RFB(64) if spec.backbone == "RFB" else separable_conv(64, 64, 1, RELU)
        self.conv9 = separable_conv(64, 128, 2, RELU)
        self.conv10 = separable_conv(128, 128, 1, RELU)
        self.conv11 = separable_conv(128, 128, 1, RELU)
        self.conv12 = separable_conv(128, 256, 2, RELU)
        self.conv13 = separable_conv(256, 256, 1, RELU)
        self.conv14 = nn.Sequential(
            nn.Conv2d(256, 64, 1),
            nn.ReLU(),
            nn.Sequential(depthwise(64, stride=2), nn.ReLU(), nn.Conv2d(64, 256, 1)),
            nn.ReLU(),
        )
        priors_per_cell = tuple(len(sizes) for sizes in spec.priors.min_sizes)
        self.loc, self.conf, self.landm = (heads(priors_per_cell, values) for values in (4, 2, 10))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encoded boxes, probabilities of background and face, encoded landmarks."""
        stride4 = self.conv4(self.conv3(self.conv2(self.conv1(x))))
        stride8 = self.conv8(self.conv7(self.conv6(self.conv5(stride4))))
        stride16 = self.conv11(self.conv10(self.conv9(stride8)))
        stride32 = self.conv13(self.conv12(stride16))
        levels = (stride8, stride16, stride32, self.conv14(stride32))
        loc, conf, landms = (
            concat([per_prior(head(level), values) for head, level in zip(heads, levels, strict=True)])
            for heads, values in ((self.loc, 4), (self.conf, 2), (self.landm, 10))
        )
        return loc, F.softmax(conf, dim=-1), landms
