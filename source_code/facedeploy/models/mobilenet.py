"""MobileNetV1 at a quarter of its width, cut after its last features (arXiv:1704.04861; Pytorch_Retinaface)."""

from torch import Tensor, nn

from facedeploy.models.layers import conv_bn, separable_conv


class MobileNetV1(nn.Module):
    """Three stages, at strides 8, 16 and 32."""

    channels = (64, 128, 256)

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(
            conv_bn(3, 8, 3, stride=2, slope=slope),
            separable_conv(8, 16, 1, slope),
            separable_conv(16, 32, 2, slope),
            separable_conv(32, 32, 1, slope),
            separable_conv(32, 64, 2, slope),
            separable_conv(64, 64, 1, slope),
        )
        self.stage2 = nn.Sequential(
            separable_conv(64, 128, 2, slope),
            *(separable_conv(128, 128, 1, slope) for _ in range(5)),
        )
        self.stage3 = nn.Sequential(separable_conv(128, 256, 2, slope), separable_conv(256, 256, 1, slope))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 3, H, W) -> features at strides 8, 16, 32, each (N, C, ceil(H / stride), ceil(W / stride))."""
        stride8 = self.stage1(x)
        stride16 = self.stage2(stride8)
        return stride8, stride16, self.stage3(stride16)
