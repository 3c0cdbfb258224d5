"""What the blocked kernels are made of: vectors, epilogues, halos, loops with tails; written for TVM's IRBuilder."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.layout import Blocked

F32 = "float32"
UNROLL = 4  # Input channels a loop step.


@dataclass(frozen=True)
class Epilogue:
    """What happens to a sum of products plus bias before it is stored.

    activation(x) = max(x, slope * x): slope 0 is ReLU, 1 nothing. `slope` acts first; a number, or a tuple of one for
    each output block. Then a residual of this layout is added, each of its pixels covering `upsample` squared, and
    `slope_after` acts. A kernel between integers may also read a residual of u8, and store u8 where `quantized`.
    """

    slope: float | tuple[float, ...] = 1.0
    residual: Blocked | None = None
    upsample: int = 1
    slope_after: float = 1.0
    residual_dtype: str = F32
    quantized: bool = False

    def slope_of(self, block: Any) -> Any:
        """The slope of one output block: a number, or for a block known at run time only an expression."""
        if not isinstance(self.slope, tuple):
            return self.slope
        if isinstance(block, int):
            return self.slope[block]
        chosen: Any = tirx.const(self.slope[-1], F32)
        for index in range(len(self.slope) - 1, 0, -1):
            if self.slope[index - 1] != self.slope[index]:
                chosen = tirx.Select(block < index, tirx.const(self.slope[index - 1], F32), chosen)
        return chosen


@contextmanager
def kernel(name: str) -> Iterator[IRBuilder]:
    """Build a PrimFunc of the statements inside; `builder.get()` afterwards returns it.

    The pattern number keeps FuseOps from fusing into it.
    """
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name(name)
        T.func_attr({"tirx.noalias": True, "op_pattern": 8, "kernel": name})
        yield builder


def argument(name: str, shape: Sequence[int], dtype: str = F32) -> Any:
    """A buffer argument of the function."""
    return T.arg(name, T.buffer(tuple(shape), dtype))


def vector(lanes: int, dtype: str = F32) -> str:
    """TVM's name of a vector."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def splat(value: float, lanes: int, dtype: str = F32) -> Any:
    """A constant in every lane."""
    number = tirx.const(value, dtype)
    return number if lanes == 1 else tirx.Broadcast(number, lanes)


def broadcast(scalar: Any, lanes: int) -> Any:
    """One number in every lane, loaded once."""
    return T.Bind(scalar if lanes == 1 else tirx.Broadcast(scalar, lanes))


def repeat(value: Any, lanes: int, times: int) -> Any:
    """A vector of so many lanes, `times` over."""
    if times == 1:
        return value
    return tirx.Shuffle([value] * times, [tirx.const(lane, "int32") for lane in range(times * lanes)])


def load(buffer: Any, indices: Sequence[Any], lanes: int, dtype: str = F32) -> Any:
    """`lanes` numbers from the last axis on."""
    return buffer[tuple(indices)] if lanes == 1 else buffer.vload(list(indices), vector(lanes, dtype))


def store(buffer: Any, value: Any, indices: Sequence[Any], lanes: int) -> None:
    """`lanes` numbers from the last axis on."""
    *outer, last = indices
    T.buffer_store(buffer, value, [*outer, last if lanes == 1 else T.ramp(last, 1, lanes)])


def activate(value: Any, slope: Any, lanes: int) -> Any:
    """max(x, slope * x); the slope is a number, or an expression of one."""
    known = isinstance(slope, float)
    if known and slope == 1.0:
        return value
    if known and slope == 0.0:
        return tirx.Max(value, splat(0.0, lanes))
    bound = T.Bind(value)
    return tirx.Max(bound, bound * (splat(slope, lanes) if known else broadcast(slope, lanes)))


def segments(total: int, tile: int) -> list[tuple[int, int, int]]:
    """How `total` splits in tiles: (start, tiles, size), first the full ones, then the one that is left."""
    full, rest = divmod(total, tile)
    parts = [(0, full, tile)] if full else []
    return [*parts, (full * tile, 1, rest)] if rest else parts


def for_tiles(total: int, tile: int, body: Callable[[Any, int], None]) -> None:
    """Run `body(start, size)` for each tile of `total`; a single tile needs no loop."""
    for start, count, size in segments(total, tile):
        if count == 1:
            body(start, size)
        else:
            with T.serial(0, count) as index:
                body(start + index * size, size)


@contextmanager
def share(total: int, least: int = 1) -> Iterator[tuple[Any, Any]]:
    """Run the body once in every thread; yields the first of `total` steps that this thread does, and how many it does.

    What is allocated in the body is the thread's own, and once: TVM's own parallel loop allocates at every step. No
    thread gets fewer than `least` steps, unless there are no more.
    """
    most = tirx.const(max(1, total // least), "int32")
    threads = T.Bind(tirx.Min(T.Cast("int32", tirx.call_packed("runtime.NumThreads")), most))
    with T.parallel(0, threads) as thread:
        start = T.Bind(thread * total // threads)
        yield start, T.Bind((thread + 1) * total // threads - start)


def for_lanes(count: Any, lanes: int, body: Callable[[Any, int], None]) -> None:
    """Run `body(start, lanes)` for the vectors in a count known at run time, and `body(start, 1)` for what is left."""
    steps = T.Bind(count // lanes)
    with T.serial(0, steps) as step:
        body(T.Bind(step * lanes), lanes)
    with T.serial(0, count - steps * lanes) as rest:
        body(T.Bind(steps * lanes + rest), 1)


def row_of(part: Any, layout: Blocked) -> tuple[Any, Any, Any]:
    """Image, block and row of the `part`-th row of all blocks."""
    n, rest = part // (layout.blocks * layout.height), part % (layout.blocks * layout.height)
    return n, rest // layout.height, rest % layout.height


def zero_halo(buffer: Any, layout: Blocked) -> None:
    """Write the zeros around the image."""
    fill_halo(buffer, layout, lambda _: splat(0.0, layout.block))


def fill_halo(buffer: Any, layout: Blocked, vector_of: Callable[[Any], Any]) -> None:
    """Write around the image what stands for zero there: a vector for each block."""
    if layout.halo == 0:
        return
    height, width = layout.height + 2 * layout.halo, layout.width + 2 * layout.halo
    with T.serial(0, layout.batch) as n, T.serial(0, layout.blocks) as c:
        zeros = vector_of(c)
        for edge in range(layout.halo):
            with T.serial(0, width) as x:
                store(buffer, zeros, [n, c, edge, x, 0], layout.block)
                store(buffer, zeros, [n, c, height - 1 - edge, x, 0], layout.block)
            with T.serial(layout.halo, layout.halo + layout.height) as y:
                store(buffer, zeros, [n, c, y, edge, 0], layout.block)
                store(buffer, zeros, [n, c, y, width - 1 - edge, 0], layout.block)


def accumulators(blocks: int, pixels: int, lanes: int, start: Callable[[int, int], Any], dtype: str = F32) -> list[Any]:
    """Registers for sums: one buffer of (pixels, lanes) for each output block, filled with `start(index, pixel)`."""
    sums = [T.alloc_buffer((pixels, lanes), dtype, scope="local") for _ in range(blocks)]
    for index, total in enumerate(sums):
        for pixel in range(pixels):
            store(total, start(index, pixel), [pixel, 0], lanes)
    return sums


def add_products(
    sums: Sequence[Any],
    pixels: int,
    *,
    blocks_in: int,
    inner: int,
    lanes: int,
    weight: Callable[[int, Any, Any], Any],
    value: Callable[[int, Any, Any], Any],
) -> None:
    """sums[index][pixel] += weight(index, c, channel) * value(pixel, c, channel), over `blocks_in` blocks of `inner`.

    `weight` loads a vector for the output block with this index, `value` a number that is broadcast.
    """
    step = min(UNROLL, inner)
    with T.serial(0, blocks_in) as c, T.serial(0, inner // step) as outer:
        for offset in range(step):
            channel = outer * step + offset
            vectors = [T.Bind(weight(index, c, channel)) for index in range(len(sums))]
            for pixel in range(pixels):
                scalar = broadcast(value(pixel, c, channel), lanes)
                for total, vector_of in zip(sums, vectors, strict=True):
                    store(total, load(total, [pixel, 0], lanes) + scalar * vector_of, [pixel, 0], lanes)


def complete(value: Any, epilogue: Epilogue, slope: Any, residual: Any, place: Sequence[Any], lanes: int) -> Any:
    """Activation, residual and second activation of a sum at `place` (n, block, y, x) of the output."""
    result = activate(value, slope, lanes)
    if epilogue.residual is None:
        return result
    n, block, y, x = place
    halo, up = epilogue.residual.halo, epilogue.upsample
    added = load(residual, [n, block, y // up + halo, x // up + halo, 0], lanes)
    return activate(result + added, epilogue.slope_after, lanes)
