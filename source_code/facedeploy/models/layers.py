"""Convolution, batch norm and activation in the groupings that the parameter names of checkpoints follow."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LeakyReLU(nn.LeakyReLU):
    """LeakyReLU that is traced as Relu when its slope is 0: every runtime fuses that one."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        return super().forward(x) if self.negative_slope else F.relu(x)


def conv_bn(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, groups: int = 1, slope: float | None = None
) -> nn.Sequential:
    """Convolution without bias (`0`), batch norm (`1`) and, unless `slope` is None, LeakyReLU (`2`).

    Odd kernels are padded by half, so (N, C, H, W) becomes (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
    ]
    if slope is not None:
        layers.append(LeakyReLU(slope))
    return nn.Sequential(*layers)


def separable_conv(in_channels: int, out_channels: int, stride: int, slope: float) -> nn.Sequential:
    """Depthwise 3x3 (`0`..`2`) and pointwise 1x1 (`3`..`5`), each with batch norm and LeakyReLU (arXiv:1704.04861)."""
    return nn.Sequential(
        *conv_bn(in_channels, in_channels, 3, stride, groups=in_channels, slope=slope),
        *conv_bn(in_channels, out_channels, 1, slope=slope),
    )


class ConvNorm(nn.Module):
    """Convolution (`conv`), batch norm (`bn`) and, with `relu`, ReLU.

    Odd kernels are padded by half of what `dilation` makes them, so H becomes ceil(H / stride).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        bias: bool = False,
        relu: bool = True,
    ) -> None:
        super().__init__()
        padding = kernel // 2 * dilation
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, bias=bias)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        y: Tensor = self.bn(self.conv(x))
        return F.relu(y) if self.relu else y


class Predictor(nn.Conv2d):
    """Last convolution of a head. `face` are the channels that say how much of a face there is, where it has such."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, face: slice | None = None) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=kernel // 2)
        self.face = face


def predictor(in_channels: int, priors_per_cell: int, values: int, kernel: int = 1) -> Predictor:
    """It gives `values` numbers a prior: 4 of a box, 2 of background and face, 10 of landmarks."""
    face = slice(1, None, 2) if values == 2 else None
    return Predictor(in_channels, priors_per_cell * values, kernel, face)


def per_prior(y: Tensor, values: int) -> Tensor:
    """(N, priors_per_cell * values, h, w) -> (N, h * w * priors_per_cell, values), row major."""
    batch, channels, height, width = static_size(y)
    return y.permute(0, 2, 3, 1).reshape(batch, height * width * channels // values, values)


def static_size(x: Tensor) -> tuple[int, int, int, int]:
    """(N, C, H, W) of a feature map as plain numbers: a trace then holds constants and not arithmetic on shapes."""
    batch, channels, height, width = (int(extent) for extent in x.shape)
    return batch, channels, height, width


def upsample_like(x: Tensor, target: Tensor) -> Tensor:
    """Nearest-neighbor resize of `x` to the height and width of `target`, whatever their ratio."""
    return F.interpolate(x, size=static_size(target)[2:], mode="nearest")


class Factor(nn.Conv2d):
    """1x1 convolution of a feature that `upsample_product` multiplies with another."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)


def upsample_product(x: Tensor, lateral: Tensor) -> Tensor:
    """`lateral` times `x`, bilinearly resized (corners on corners) to its height and width, whatever their ratio."""
    return lateral * F.interpolate(x, size=static_size(lateral)[2:], mode="bilinear", align_corners=True)


def concat(features: Sequence[Tensor]) -> Tensor:
    """Along the second axis: channels of feature maps, priors of head outputs."""
    return torch.cat(list(features), dim=1)
