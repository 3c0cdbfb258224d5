"""The blocked layout of activations, and how weights are packed for it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

LANES = 16  # float32 in a full block: one AVX-512 register, two of AVX2.


@dataclass(frozen=True)
class Blocked:
    """A tensor (N, C, H, W) kept as (N, ceil(C / block), H + 2 halo, W + 2 halo, block).

    Channels behind the last are zero, and so is the halo, px, so that a convolution reads its padding from memory.
    """

    batch: int
    channels: int
    height: int
    width: int
    block: int
    halo: int = 0

    @property
    def blocks(self) -> int:
        """Blocks of channels."""
        return -(-self.channels // self.block)

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Of the buffer."""
        return (
            self.batch,
            self.blocks,
            self.height + 2 * self.halo,
            self.width + 2 * self.halo,
            self.block,
        )


def block_of(channels: int) -> int:
    """The block for so many channels: narrow tensors get narrow blocks, so that lanes are not wasted."""
    return next((block for block in (4, 8) if channels <= block), LANES)


def to_blocked(array: FloatArray, layout: Blocked) -> FloatArray:
    """(N, C, H, W) -> the buffer of `layout`; for constants and tests."""
    padding = layout.blocks * layout.block - layout.channels
    halo = (layout.halo, layout.halo)
    padded = np.pad(array, ((0, 0), (0, padding), halo, halo))
    n, _, h, w = padded.shape
    return np.ascontiguousarray(padded.reshape(n, layout.blocks, layout.block, h, w).transpose(0, 1, 3, 4, 2))


def from_blocked(buffer: FloatArray, layout: Blocked) -> FloatArray:
    """The inverse of `to_blocked`."""
    n, blocks, h, w, block = buffer.shape
    full = buffer.transpose(0, 1, 4, 2, 3).reshape(n, blocks * block, h, w)
    end_h, end_w = h - layout.halo, w - layout.halo
    return np.ascontiguousarray(full[:, : layout.channels, layout.halo : end_h, layout.halo : end_w])


def pack_bias(values: Array, block: int) -> FloatArray:
    """`in_blocks`, as float32."""
    return in_blocks(values, block).astype(np.float32)


def in_blocks(values: Array, block: int) -> Array:
    """(C,) -> (blocks, block); channels behind the last are zero."""
    return np.pad(values, (0, -len(values) % block)).reshape(-1, block)


def pack_dense(weights: Array, source_blocks: list[list[int]], block_in: int, block_out: int) -> Array:
    """OIHW -> (out blocks, in blocks, KH, KW, block_in, block_out).

    `source_blocks` lists, for each input block, the input channels in it (a short last block is filled with zeros):
    with several sources, each ends in a block of its own.
    """
    outputs, _, kernel_h, kernel_w = weights.shape
    blocks_out = -(-outputs // block_out)
    packed = np.zeros((blocks_out * block_out, len(source_blocks), block_in, kernel_h, kernel_w), weights.dtype)
    for index, channels in enumerate(source_blocks):
        packed[:outputs, index, : len(channels)] = weights[:, channels]
    shaped = packed.reshape(blocks_out, block_out, len(source_blocks), block_in, kernel_h, kernel_w)
    return np.ascontiguousarray(shaped.transpose(0, 2, 4, 5, 3, 1))


def pack_depthwise(weights: Array, block: int) -> Array:
    """(C, 1, KH, KW) -> (blocks, KH, KW, block)."""
    channels, _, kernel_h, kernel_w = weights.shape
    blocks = -(-channels // block)
    padded = np.pad(weights[:, 0], ((0, blocks * block - channels), (0, 0), (0, 0)))
    shaped = padded.reshape(blocks, block, kernel_h, kernel_w)
    return np.ascontiguousarray(shaped.transpose(0, 2, 3, 1))
