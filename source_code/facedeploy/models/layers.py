"""Convolution, batch norm and activation in the groupings that Pytorch_Retinaface's parameter names follow."""

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


def static_size(x: Tensor) -> tuple[int, int, int, int]:
    """(N, C, H, W) of a feature map as plain numbers: a trace then holds constants and not arithmetic on shapes."""
    batch, channels, height, width = (int(extent) for extent in x.shape)
    return batch, channels, height, width


def upsample_like(x: Tensor, target: Tensor) -> Tensor:
    """Nearest-neighbor resize of `x` to the height and width of `target`, whatever their ratio."""
    return F.interpolate(x, size=static_size(target)[2:], mode="nearest")


def concat(features: list[Tensor]) -> Tensor:
    """Along the second axis: channels of feature maps, priors of head outputs."""
    return torch.cat(features, dim=1)
