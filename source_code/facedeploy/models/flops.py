"""What one inference costs, counted layer by layer as it was for the published figures."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Flops:
    """Multiply-adds of the convolutions alone, and the total of everything that the published figures count."""

    convolutions: int
    total: int


def count_flops(net: nn.Module, size_hw: tuple[int, int]) -> Flops:
    """Run one blank image of (height, width) px and count; a net on the meta device is counted without computing.

    The published totals (254.330 M for mobilenet0.25 at 320x320) are multiply-adds of convolutions, + 1 per biased
    output, + 2 per batch norm output, + 1 per LeakyReLU output; ReLU, pooling, resizing, sums and softmax are free.
    """
    convolutions = 0
    others = 0

    def count(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal convolutions, others
        if isinstance(layer, nn.Conv2d):
            convolutions += output.numel() * layer.weight[0].numel()
            others += output.numel() if layer.bias is not None else 0
        elif isinstance(layer, nn.BatchNorm2d):
            others += 2 * output.numel()
        elif isinstance(layer, nn.LeakyReLU):
            others += output.numel()

    hooks = [layer.register_forward_hook(count) for layer in net.modules()]
    try:
        with torch.inference_mode():
            net(torch.zeros(1, 3, *size_hw, device=next(net.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return Flops(convolutions, convolutions + others)
