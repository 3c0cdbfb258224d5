"""lightDSFD: DSFD (arXiv:1810.10220) upon the backbone of FaceBoxes (arXiv:1708.05234; lijiannuist/lightDSFD).

Attribute names are those of its checkpoint.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from facedeploy.models.layers import ConvNorm, concat, per_prior, predictor, upsample_product
from facedeploy.models.specs import ModelSpec

CHANNELS = 64  # Of every level of the pyramid.


class CReLU(ConvNorm):
    """Convolution and batch norm, then ReLU of that and of its negative (arXiv:1603.05201): twice the channels."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, bias=True, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, 2 out_channels, ceil(H / stride), ceil(W / stride))."""
        y = super().forward(x)
        return F.relu(concat([y, -y]))


class Inception(nn.Module):
    """Four branches of a quarter of the channels each: 1x1, pooled 1x1, 3x3, twice 3x3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter, eighth = channels // 4, channels // 8
        self.branch1x1 = ConvNorm(channels, quarter, 1, bias=True)
        self.branch1x1_2 = ConvNorm(channels, quarter, 1, bias=True)
        self.branch3x3_reduce = ConvNorm(channels, eighth, 1, bias=True)
        self.branch3x3 = ConvNorm(eighth, quarter, 3, bias=True)
        self.branch3x3_reduce_2 = ConvNorm(channels, eighth, 1, bias=True)
        self.branch3x3_2 = ConvNorm(eighth, quarter, 3, bias=True)
        self.branch3x3_3 = ConvNorm(quarter, quarter, 3, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        pooled = F.avg_pool2d(x, 3, 1, 1)  # A border's zeros count.
        once = self.branch3x3(self.branch3x3_reduce(x))
        twice = self.branch3x3_3(self.branch3x3_2(self.branch3x3_reduce_2(x)))
        return concat([self.branch1x1(x), self.branch1x1_2(pooled), once, twice])


class Head(nn.Module):
    """1x1 and 3x3 of 16 channels, then a 1x1 that gives each prior of each cell `values` numbers."""

    def __init__(self, priors_per_cell: int, values: int) -> None:
        super().__init__()
        self.values = values
        self.conv1 = ConvNorm(CHANNELS, 16, 1, bias=True)
        self.conv2 = ConvNorm(16, 16, 3, bias=True)
        self.conv3 = predictor(16, priors_per_cell, values)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, h * w * priors_per_cell, values), row major."""
        return per_prior(self.conv3(self.conv2(self.conv1(x))), self.values)


class LightDSFD(nn.Module):
    """(N, 3, H, W) pixels minus mean -> loc (N, P, 4), conf (N, P, 2) after softmax."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.conv1 = CReLU(3, 32, 7, 4)
        self.conv3 = CReLU(64, 64, 5, 2)
        self.inception1, self.inception2 = Inception(64), Inception(64)
        self.inception3, self.inception4 = Inception(128), Inception(128)
        self.conv5_1 = ConvNorm(128, 128, 1, bias=True)
        self.conv5_2 = ConvNorm(128, 256, 3, 2, bias=True)
        self.conv6_1 = ConvNorm(256, 128, 1, bias=True)
        self.conv6_2 = ConvNorm(128, 256, 3, 2, bias=True)
        self.smooth3, self.smooth2, self.smooth1 = (nn.Conv2d(CHANNELS, CHANNELS, 1) for _ in range(3))
        self.latlayer6, self.latlayer5, self.latlayer4, self.latlayer3, self.latlayer2, self.latlayer1 = (
            nn.Conv2d(channels, CHANNELS, 1) for channels in (256, 256, 128, 128, 64, 64)
        )
        self.cpm1, self.cpm2, self.cpm3, self.cpm4, self.cpm5, self.cpm6 = (Inception(CHANNELS) for _ in range(6))
        self.loc, self.conf = (
            nn.ModuleList(Head(len(sizes), values) for sizes in spec.priors.min_sizes) for values in (4, 2)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded boxes, probabilities of background and face."""
        pyramid = self._pyramid(self._features(x))
        modules = (self.cpm1, self.cpm2, self.cpm3, self.cpm4, self.cpm5, self.cpm6)
        contexts = [module(level) for module, level in zip(modules, pyramid, strict=True)]
        loc, conf = (
            concat([head(context) for head, context in zip(heads, contexts, strict=True)])
            for heads in (self.loc, self.conf)
        )
        return loc, F.softmax(conf, dim=-1)

    def _features(self, x: Tensor) -> list[Tensor]:
        """Of 64, 64, 128, 128, 256 and 256 channels, at strides 4 to 128."""
        stride4 = self.inception1(self.conv1(x))
        stride8 = self.inception2(F.max_pool2d(stride4, 3, 2, 1))
        stride16 = self.inception3(self.conv3(stride8))
        stride32 = self.inception4(F.max_pool2d(stride16, 3, 2, 1))
        stride64 = self.conv5_2(self.conv5_1(stride32))
        stride128 = self.conv6_2(self.conv6_1(stride64))
        return [stride4, stride8, stride16, stride32, stride64, stride128]

    def _pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Laterals of all levels; the finest three are multiplied by what is above them."""
        laterals = (self.latlayer1, self.latlayer2, self.latlayer3, self.latlayer4, self.latlayer5, self.latlayer6)
        levels = [lateral(feature) for lateral, feature in zip(laterals, features, strict=True)]
        levels[2] = self.smooth3(upsample_product(levels[3], levels[2]))
        levels[1] = self.smooth2(upsample_product(levels[2], levels[1]))
        levels[0] = self.smooth1(upsample_product(levels[1], levels[0]))
        return levels
