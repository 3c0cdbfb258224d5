"""Priors of an SSD-style head, as numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PriorSpec:
    """`min_sizes[i]` are the square priors (px) of every cell of the grid of `strides[i]` (px).

    `variances` scale encoded centers and sizes. The defaults are RetinaFace's (arXiv:1905.00641; Pytorch_Retinaface).
    """

    min_sizes: tuple[tuple[int, ...], ...] = ((16, 32), (64, 128), (256, 512))
    strides: tuple[int, ...] = (8, 16, 32)
    variances: tuple[float, float] = (0.1, 0.2)

    def __post_init__(self) -> None:
        if len(self.min_sizes) != len(self.strides):
            raise ValueError(
                f"min_sizes has {len(self.min_sizes)} levels, strides {len(self.strides)}: they must agree"
            )

    def count(self, canvas_hw: tuple[int, int]) -> int:
        """Number of priors on a canvas of (height, width) px: 16,800 at 640x640 with the defaults."""
        height, width = canvas_hw
        return sum(
            -(-height // stride) * -(-width // stride) * len(sizes)
            for stride, sizes in zip(self.strides, self.min_sizes, strict=True)
        )
