"""Convolutions of u8 by s8, summed in int32: the products, and how a sum becomes u8 again.

A tensor's integer q stands for (q - zero point) * scale, weights have no zero point. So a convolution is a sum of
integers times one number for each output channel; the zero points of what it reads are part of where the sum starts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.emit import (
    F32,
    Epilogue,
    accumulators,
    activate,
    argument,
    broadcast,
    fill_halo,
    load,
    splat,
    store,
    vector,
    zero_halo,
)
from facedeploy.compiler.kernels.blocked.layout import Blocked, pack_dense
from facedeploy.compiler.kernels.blocked.products import Indices
from facedeploy.compiler.target import Target

GROUP = 4  # Channels of a pixel that one lane multiplies at a time.
U8, S8, S32 = "uint8", "int8", "int32"
PACKED, PACKED_LANES = 4, 16  # Vectors of float32, and lanes of each, that become one vector of u8.

# How four products are added to a lane: by one instruction (VNNI), as pairs of 16 bits (vpmaddwd), or one by one.
Dot = Literal["vnni", "pairs", "singles"]

# By a vector's bits. Both are exact: no sum of theirs can pass its type.
DOT_PRODUCT = {bits: f"llvm.x86.avx512.vpdpbusd.{bits}" for bits in (128, 256, 512)}
PAIR_PRODUCT = {
    128: "llvm.x86.sse2.pmadd.wd",
    256: "llvm.x86.avx2.pmadd.wd",
    512: "llvm.x86.avx512.pmaddw.d.512",
}


class Step(IntEnum):
    """Rows of the float32 numbers (rows, blocks, lanes) that turn sums into outputs, in steps of the output's integers.

    An output that stays float32 has steps of 1.
    """

    SCALE = 0
    BIAS = 1
    RESIDUAL_SCALE = 2
    RESIDUAL_BIAS = 3
    ZERO_POINT = 4


def dot_of(target: Target) -> Dot:
    """The best that a target has."""
    if "avx512vnni" in target.features or "avxvnni" in target.features:
        return "vnni"
    return "pairs" if "sse2" in target.features else "singles"


def has_amx(target: Target) -> bool:
    """Whether dense convolutions multiply in AMX's tiles, beyond what `dot_of` says."""
    return "amx-int8" in target.features


def instruction_of(target: Target) -> str:
    """The name, for people, of what dense convolutions multiply with."""
    return (
        "tdpbusd"
        if has_amx(target)
        else {"vnni": "vpdpbusd", "pairs": "pmaddwd", "singles": "multiplications"}[dot_of(target)]
    )


def pack_integers(
    weights: npt.NDArray[np.int8], source_blocks: list[list[int]], block_in: int, block_out: int, target: Target
) -> npt.NDArray[np.int8]:
    """OIHW -> (out blocks, in blocks, KH, KW, block_in / GROUP, GROUP * block_out), as `IntegerProducts` reads them.

    `source_blocks` as for `pack_dense`.
    """
    packed = pack_dense(weights, source_blocks, block_in, block_out)
    *outer, inner, lanes = packed.shape
    grouped = packed.reshape(*outer, inner // GROUP, GROUP, lanes)
    match dot_of(target):
        case "vnni":  # The four of a lane side by side.
            grouped = grouped.swapaxes(-1, -2)
        case "pairs":  # 0 and 2 of each lane, then 1 and 3: where they are when every other byte is masked.
            grouped = grouped.reshape(*outer, inner // GROUP, 2, 2, lanes)
            grouped = np.moveaxis(grouped, (-3, -2, -1), (-1, -3, -2))
    return np.ascontiguousarray(grouped).reshape(*outer, inner // GROUP, GROUP * lanes)


@dataclass(frozen=True)
class IntegerArithmetic:
    """Arguments: weights as `pack_integers` makes them, where sums start (blocks, lanes), `Step`s."""

    target: Target
    dtype: str = U8

    def declare(self, suffix: str, shape: tuple[int, int, int, int], inner: int, lanes: int) -> "IntegerProducts":
        weights = argument(f"weights{suffix}", (*shape, inner // GROUP, GROUP * lanes), S8)
        start = argument(f"start{suffix}", (shape[0], lanes), S32)
        steps = argument(f"steps{suffix}", (len(Step), shape[0], lanes))
        return IntegerProducts(weights, Requantization(start, steps, lanes, self.target), inner)


@dataclass(frozen=True)
class Requantization:
    """From int32 sums to what is stored: float32, or u8 of another scale and zero point.

    `lanes` are computed at a time, which may be a part of a block.
    """

    start: Any
    steps: Any
    lanes: int
    target: Target

    def step(self, row: Step, block: Any, lane: Any = 0) -> Any:
        """A row for the lanes of one block, from `lane` on: a float32 vector."""
        return load(self.steps, [int(row), block, lane], self.lanes)

    def real(self, total: Any, block: Any, lane: Any = 0) -> Any:
        """An int32 vector, in steps of the output, plus bias."""
        value = tirx.Cast(vector(self.lanes), total)
        return self._multiply_add(value, self.step(Step.SCALE, block, lane), self.step(Step.BIAS, block, lane))

    def complete(self, value: Any, epilogue: Epilogue, slope: Any, residual: Any, place: Indices) -> Any:
        """`unrounded`; rounded to nearest, ties to even, where u8 is stored."""
        result = self.unrounded(value, epilogue, slope, residual, place)
        if not epilogue.quantized:
            return result
        return to_u8(result, self.step(Step.ZERO_POINT, place[1]), self.lanes)

    def unrounded(
        self, value: Any, epilogue: Epilogue, slope: Any, residual: Any, place: Indices, lane: Any = 0
    ) -> Any:
        """Activation, residual, second activation of lanes of the block at `place`, from `lane` on: float32."""
        n, block, y, x = place
        result = activate(value, slope, self.lanes)
        if epilogue.residual is not None:
            halo, up = epilogue.residual.halo, epilogue.upsample
            channel = block * self.steps.shape[2] + lane
            at = [n, channel // epilogue.residual.block, y // up + halo, x // up + halo]
            at.append(channel % epilogue.residual.block)
            added = load(residual, at, self.lanes, epilogue.residual_dtype)
            if epilogue.residual_dtype != F32:
                added = tirx.Cast(vector(self.lanes), added)
            scale, bias = (self.step(row, block, lane) for row in (Step.RESIDUAL_SCALE, Step.RESIDUAL_BIAS))
            result = activate(result + self._multiply_add(added, scale, bias), epilogue.slope_after, self.lanes)
        return result

    def fill_halo(self, buffer: Any, layout: Blocked, epilogue: Epilogue) -> None:
        """The integer that stands for 0, of each channel."""
        if not epilogue.quantized:
            zero_halo(buffer, layout)
            return

        def zero(block: Any) -> Any:
            zero_point = load(self.steps, [int(Step.ZERO_POINT), block, 0], layout.block)
            return T.Bind(to_u8(splat(0.0, layout.block), zero_point, layout.block))

        fill_halo(buffer, layout, zero)

    def _multiply_add(self, value: Any, factor: Any, addend: Any) -> Any:
        """Rounded once where the target can, so that it does not depend on what a compiler makes of it."""
        if "fma" not in self.target.features:
            return value * factor + addend
        return tirx.call_llvm_pure_intrin(vector(self.lanes), "llvm.fma", value, factor, addend)


def to_u8(value: Any, zero_point: Any, lanes: int) -> Any:
    """A float32 vector in steps of the integers -> u8, rounded to nearest, ties to even."""
    shifted = tirx.nearbyint(value) + zero_point
    # Clamped as floats, since numbers beyond int32 have no defined integer.
    clamped = tirx.Min(tirx.Max(shifted, splat(0.0, lanes)), splat(255.0, lanes))
    return tirx.Cast(vector(lanes, U8), tirx.Cast(vector(lanes, S32), clamped))


def store_u8(
    buffer: Any, values: Sequence[Any], zero_point: Any, at: Callable[[int], Indices], lanes: int, target: Target
) -> None:
    """Store float32 vectors as `to_u8` makes them, at neighboring pixels: the first lane of the k-th is at `at(k)`.

    Four at a time, where the target packs them in one vector.
    """
    zero_points = [zero_point] * len(values)
    if buffer.shape[-1] == lanes:
        store_run_u8(buffer, values, zero_points, at, lanes, target)
        return
    whole = _packed(len(values), lanes, target)
    for first in range(0, whole, PACKED):
        group = slice(first, first + PACKED)
        packed = T.Bind(_pack(values[group], zero_points[group]))
        for k in range(PACKED):
            part = tirx.Shuffle([packed], [tirx.const(lanes * k + lane, S32) for lane in range(lanes)])
            store(buffer, part, at(first + k), lanes)
    for k in range(whole, len(values)):
        store(buffer, to_u8(values[k], zero_point, lanes), at(k), lanes)


def store_run_u8(
    buffer: Any,
    values: Sequence[Any],
    zero_points: Sequence[Any],
    at: Callable[[int], Indices],
    lanes: int,
    target: Target,
) -> None:
    """`store_u8` of vectors that follow each other in memory, each with a zero point of its own."""
    whole = _packed(len(values), lanes, target)
    for first in range(0, whole, PACKED):
        group = slice(first, first + PACKED)
        store(buffer, T.Bind(_pack(values[group], zero_points[group])), at(first), PACKED * lanes)
    for k in range(whole, len(values)):
        store(buffer, to_u8(values[k], zero_points[k], lanes), at(k), lanes)


def _packed(count: int, lanes: int, target: Target) -> int:
    """How many of so many vectors the target packs by fours."""
    return count // PACKED * PACKED if lanes == PACKED_LANES and "avx512bw" in target.features else 0


def _pack(values: Sequence[Any], zero_points: Sequence[Any]) -> Any:
    """Four float32 vectors of 16 lanes -> one of 64 u8, each as `to_u8` makes it: all narrowing saturates."""

    def rounded(value: Any) -> Any:
        # (What lies below int32 becomes its least number.)
        below = tirx.Min(value, splat(32767.0, PACKED_LANES))
        nearest, every = tirx.const(4, S32), tirx.const(-1, "int16")  # Rounding as the CPU is set; lanes.
        none = splat(0, PACKED_LANES, S32)
        return T.Bind(_intrinsic(f"{S32}x16", "mask.cvtps2dq.512", below, none, every, nearest))

    def narrow(one: Any, other: Any) -> Any:
        return _intrinsic("int16x32", "packssdw.512", one, other)

    def total(pair: slice) -> Any:
        steps, zeros = (narrow(*map(rounded, vectors[pair])) for vectors in (values, zero_points))
        return _pure("int16x32", "llvm.sadd.sat", steps, T.Bind(zeros))

    sums = [total(slice(0, 2)), total(slice(2, 4))]
    mixed = T.Bind(tirx.reinterpret(f"{S32}x16", _intrinsic("uint8x64", "packuswb.512", *map(T.Bind, sums))))
    # Packing keeps to quarters of a vector: four lanes of each value lie in each.
    order = [tirx.const(quarter * 4 + value, S32) for value in range(4) for quarter in range(4)]
    return tirx.reinterpret("uint8x64", T.Bind(tirx.Shuffle([mixed], order)))


def _intrinsic(dtype: str, name: str, *operands: Any) -> Any:
    return _pure(dtype, f"llvm.x86.avx512.{name}", *operands)


def _pure(dtype: str, name: str, *operands: Any) -> Any:
    return tirx.call_llvm_pure_intrin(dtype, name, *operands)


@dataclass(frozen=True)
class IntegerProducts:
    """`Products` of u8 tensors."""

    weights: Any
    output: Requantization
    inner: int

    @property
    def lanes(self) -> int:
        """Output channels in a block."""
        return self.output.lanes

    def sums(self, block: Any, blocks: int, pixels: int) -> list[Any]:
        def start(index: int, _: int) -> Any:
            return load(self.output.start, [block + index, 0], self.lanes, S32)

        return accumulators(blocks, pixels, self.lanes, start, S32)

    def add(
        self,
        sums: Sequence[Any],
        pixels: int,
        blocks_in: int,
        weight_at: Callable[[int, Any], Indices],
        data: Any,
        value_at: Callable[[int, Any], Indices],
    ) -> None:
        groups = self.inner // GROUP
        native = min(self.lanes, self.output.target.float32_lanes)
        dot = dot_of(self.output.target)
        with T.serial(0, blocks_in) as c:
            for group in range(groups):
                vectors = [
                    [
                        _weights(self.weights, [*weight_at(index, c), group], first, native, self.lanes, dot)
                        for first in range(0, self.lanes, native)
                    ]
                    for index in range(len(sums))
                ]
                for pixel in range(pixels):
                    values = _spread(data, [*value_at(pixel, c), group * GROUP], native, dot)
                    for total, parts in zip(sums, vectors, strict=True):
                        for part, weights in enumerate(parts):
                            at = [pixel, part * native]
                            store(total, _add(load(total, at, native, S32), values, weights, native, dot), at, native)

    def total(self, sums: Sequence[Any], index: int, pixel: int, block: Any) -> Any:
        return T.Bind(self.output.real(load(sums[index], [pixel, 0], self.lanes, S32), block))

    def complete(self, value: Any, epilogue: Epilogue, slope: Any, residual: Any, place: Indices) -> Any:
        return self.output.complete(value, epilogue, slope, residual, place)

    def fill_halo(self, buffer: Any, layout: Blocked, epilogue: Epilogue) -> None:
        self.output.fill_halo(buffer, layout, epilogue)


def _weights(buffer: Any, outer: Indices, first: int, native: int, lanes: int, dot: Dot) -> list[Any]:
    """The weights of `native` lanes from `first` on, as the operands of `_add`."""
    match dot:
        case "vnni":
            return [T.Bind(load(buffer, [*outer, GROUP * first], GROUP * native, S8))]
        case "pairs":
            halves = (load(buffer, [*outer, 2 * (half * lanes + first)], 2 * native, S8) for half in range(2))
            return [T.Bind(tirx.Cast(vector(2 * native, "int16"), half)) for half in halves]
        case "singles":
            parts = (load(buffer, [*outer, member * lanes + first], native, S8) for member in range(GROUP))
            return [T.Bind(tirx.Cast(vector(native, S32), part)) for part in parts]


def _spread(data: Any, at: Indices, native: int, dot: Dot) -> list[Any]:
    """Four channels of a pixel, in every lane, as the operands of `_add`."""
    if dot == "singles":
        *outer, channel = at
        bytes_of = [load(data, [*outer, channel + member], 1, U8) for member in range(GROUP)]
        return [broadcast(tirx.Cast(S32, byte), native) for byte in bytes_of]
    word = tirx.reinterpret(S32, load(data, at, GROUP, U8))
    words = broadcast(word, native)
    if dot == "vnni":
        return [T.Bind(tirx.reinterpret(vector(GROUP * native, U8), words))]
    halves = tirx.reinterpret(vector(2 * native, "uint16"), words)
    even = words & splat(0x00FF00FF, native, S32)
    odd = halves >> splat(8, 2 * native, "uint16")
    return [T.Bind(tirx.reinterpret(vector(2 * native, "int16"), half)) for half in (even, odd)]


def _add(total: Any, values: Sequence[Any], weights: Sequence[Any], native: int, dot: Dot) -> Any:
    if dot == "singles":
        for value, weight in zip(values, weights, strict=True):
            total = total + value * weight
        return total
    intrinsic = (DOT_PRODUCT if dot == "vnni" else PAIR_PRODUCT)[32 * native]
    if dot == "vnni":
        return tirx.call_llvm_pure_intrin(vector(native, S32), intrinsic, total, *values, *weights)
    for value, weight in zip(values, weights, strict=True):
        total = total + tirx.call_llvm_pure_intrin(vector(native, S32), intrinsic, value, weight)
    return total
