"""How a kernel sums the products of a convolution: in float32, or in integers that become float32 behind the sum."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from facedeploy.compiler.kernels.blocked.emit import (
    F32,
    Epilogue,
    accumulators,
    add_products,
    argument,
    complete,
    load,
    zero_halo,
)
from facedeploy.compiler.kernels.blocked.layout import Blocked

Indices = Sequence[Any]


class Products(Protocol):
    """Weights, and what else turns products into a vector of outputs. Output channels come in blocks of `lanes`."""

    def sums(self, block: Any, blocks: int, pixels: int) -> list[Any]:
        """Registers for so many blocks from `block` on, each (pixels, lanes)."""

    def add(
        self,
        sums: Sequence[Any],
        pixels: int,
        blocks_in: int,
        weight_at: Callable[[int, Any], Indices],
        data: Any,
        value_at: Callable[[int, Any], Indices],
    ) -> None:
        """Add the products of `blocks_in` blocks of input channels.

        `weight_at(index, c)` says where the weights for the output block with this index are, `value_at(pixel, c)`
        where the pixel is in `data`: all indices but those of channels.
        """

    def total(self, sums: Sequence[Any], index: int, pixel: int, block: Any) -> Any:
        """The sum of one pixel and output block, plus bias: a float32 vector."""

    def complete(self, value: Any, epilogue: Epilogue, slope: Any, residual: Any, place: Indices) -> Any:
        """What is stored for a total at `place` (n, block, y, x) of the output."""

    def fill_halo(self, buffer: Any, layout: Blocked, epilogue: Epilogue) -> None:
        """Write what an output has around the image."""


class Arithmetic(Protocol):
    """Makes `Products` of a kernel's arguments."""

    @property
    def dtype(self) -> str:
        """Of the tensors that a convolution reads."""

    def declare(self, suffix: str, shape: tuple[int, int, int, int], inner: int, lanes: int) -> Products:
        """The next arguments of the kernel. `shape`: output blocks, input blocks of `inner` channels, kernel h, w."""


@dataclass(frozen=True)
class FloatArithmetic:
    """Arguments: weights as `pack_dense` makes them, bias (blocks, lanes)."""

    dtype: str = F32

    def declare(self, suffix: str, shape: tuple[int, int, int, int], inner: int, lanes: int) -> "FloatProducts":
        weights = argument(f"weights{suffix}", (*shape, inner, lanes))
        return FloatProducts(weights, argument(f"bias{suffix}", (shape[0], lanes)), inner, lanes)


FLOAT = FloatArithmetic()


@dataclass(frozen=True)
class FloatProducts:
    weights: Any
    bias: Any
    inner: int
    lanes: int

    def sums(self, block: Any, blocks: int, pixels: int) -> list[Any]:
        return accumulators(
            blocks, pixels, self.lanes, lambda index, _: load(self.bias, [block + index, 0], self.lanes)
        )

    def add(
        self,
        sums: Sequence[Any],
        pixels: int,
        blocks_in: int,
        weight_at: Callable[[int, Any], Indices],
        data: Any,
        value_at: Callable[[int, Any], Indices],
    ) -> None:
        add_products(
            sums,
            pixels,
            blocks_in=blocks_in,
            inner=self.inner,
            lanes=self.lanes,
            weight=lambda index, c, channel: load(self.weights, [*weight_at(index, c), channel, 0], self.lanes),
            value=lambda pixel, c, channel: load(data, [*value_at(pixel, c), channel], 1),
        )

    def total(self, sums: Sequence[Any], index: int, pixel: int, block: Any) -> Any:
        return load(sums[index], [pixel, 0], self.lanes)

    def complete(self, value: Any, epilogue: Epilogue, slope: Any, residual: Any, place: Indices) -> Any:
        return complete(value, epilogue, slope, residual, place, self.lanes)

    def fill_halo(self, buffer: Any, layout: Blocked, epilogue: Epilogue) -> None:
        zero_halo(buffer, layout)
