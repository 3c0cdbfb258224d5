"""An image laid on a canvas as one TIR function: resize, offset, fill, order of the channels.

Equal to OpenCV's INTER_LINEAR on u8 to the bit, in half the time. That is: weights rounded to 1/2048; along a row
exact, less the last four bits; between two rows the high 16 bits of each product, added and rounded.
"""

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as T

from facedeploy.artifact.manifest import LETTERBOX
from facedeploy.compiler.kernels.blocked.emit import load, splat, store, vector
from facedeploy.compiler.passes.schedule_kernels import KERNEL
from facedeploy.compiler.passes.skip_argument_checks import PUBLIC
from facedeploy.compiler.target import Target

I16, I32, F32, F64, U8 = "int16", "int32", "float32", "float64", "uint8"
WEIGHT_ONE = 2048.0
STEP = 4  # Pixels of a row that are resized at once; 16 bytes are read for each, of which 6 count.
READ = 16
BYTES = 64  # That columns between two rows, and fill, take at once.
VIEW_ARGUMENTS = ("content_h", "content_w", "top", "left", "swap", "fill_0", "fill_1", "fill_2")


def has_letterbox(target: Target) -> bool:
    """Whether there is a kernel for this instruction set; OpenCV is as fast as one without these instructions."""
    return "avx2" in target.features


def letterbox() -> Any:
    """Build `letterbox(image, canvas, content_h, content_w, top, left, swap, fill_0, fill_1, fill_2)`.

    In: image (h, w, 3) u8 of any size; int32 scalars, px: the size that it is resized to, where its corner then lies on
    the canvas (also outside, what sticks out is cut), whether red and blue change places, the canvas elsewhere.
    Out, written in place: canvas (H, W, 3) u8. An image has fewer than 2^31 bytes. Returns a tirx PrimFunc.
    """
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name(LETTERBOX)
        T.func_attr({"global_symbol": LETTERBOX, "tirx.noalias": True, KERNEL: LETTERBOX, PUBLIC: True})
        h, w, height, width = (tirx.Var(name, I32) for name in ("h", "w", "H", "W"))
        image = T.arg("image", T.buffer((h, w, 3), U8, align=1))
        canvas = T.arg("canvas", T.buffer((height, width, 3), U8, align=1))
        content_h, content_w, top, left, swap, *fill = (T.arg(name, T.int32()) for name in VIEW_ARGUMENTS)
        first_x, past_x = _visible(left, content_w, width)
        first_y, past_y = _visible(top, content_h, height)
        columns = T.Bind(past_x - first_x)
        row = _Row(image, w, width, columns, swap)
        row.weigh(first_x - left, content_w)
        with T.serial(0, past_y - first_y) as index:
            y = T.Bind(index + first_y)
            above, below, part = _between(y - top, h, content_h)
            with T.serial(0, 2) as which:
                row.resize(T.Bind(tirx.Select(which == 0, above, below)))
            row.mix(canvas, (y, first_x), (above, below), part)
        _fill(canvas, fill, (first_y, past_y, first_x, past_x), (height, width))
    return builder.get()


class _Row:
    """Two rows of the image, resized along the row; which two is by parity, since one of them often comes again."""

    def __init__(self, image: Any, w: Any, width: Any, columns: Any, swap: Any) -> None:
        self.image, self.w, self.columns, self.swap = image, w, columns, swap
        self.near, self.far = (T.alloc_buffer((width,), I32, scope="global") for _ in range(2))  # Bytes from the start.
        self.weights = T.alloc_buffer((STEP * (width + STEP),), I32, scope="global")
        self.rows = T.alloc_buffer((2, 3 * width + READ), I16, scope="global")
        self.held = T.alloc_buffer((2,), I32, scope="global")
        self.steps = T.alloc_buffer((1,), I32, scope="global")
        # Where the bytes of a half come from: each channel of two pixels, as 16 bits; 128 stands for zero.
        self.order = T.alloc_buffer((2 * READ,), U8, scope="global")
        for lane in range(2 * READ):
            T.buffer_store(self.order, 128, [lane])
        for half in range(2):
            for channel in range(3):
                source = tirx.Select(swap == 0, tirx.const(channel, I32), tirx.const(2 - channel, I32))
                for pixel in range(2):
                    place = READ * half + 4 * channel + 2 * pixel
                    T.buffer_store(self.order, T.Cast(U8, source + 3 * pixel), [place])

    def weigh(self, skipped: Any, content: Any) -> None:
        """Find the two pixels and weights of each column; `skipped` columns of `content` lie left of the canvas."""
        T.buffer_store(self.steps, 0, [0])
        with T.serial(0, self.columns) as x:
            start, part = _place(x + skipped, self.w, content)
            inside = T.Bind(tirx.all(start >= 0, start < self.w - 1))
            part = T.Bind(tirx.Select(inside, part, splat(0.0, 1)))
            near = T.Bind(tirx.Max(tirx.const(0, I32), tirx.Min(start, self.w - 1)))
            T.buffer_store(self.near, near * 3, [x])
            T.buffer_store(self.far, tirx.Min(near + 1, self.w - 1) * 3, [x])
            # A pair of 16 bits for each channel and one for what follows; in the order in which `_four` has pixels.
            pair = _weight(splat(1.0, 1) - part) + _weight(part) * 65536
            T.buffer_store(self.weights, tirx.Broadcast(pair, STEP), [T.ramp(_place_of_weight(x), 1, STEP)])
            with T.If(near * 3 + READ <= self.w * 3), T.Then():
                T.buffer_store(self.steps, (x + 1) // STEP, [0])
        for parity in range(2):
            T.buffer_store(self.held, -1, [parity])

    def resize(self, y: Any) -> None:
        """Have row `y` of the image."""
        with T.If(self.held[y % 2] != y), T.Then():
            T.buffer_store(self.held, y, [y % 2])
            with T.serial(0, self.steps[0]) as step:
                self._four(y, step)
            done = T.Bind(self.steps[0] * STEP)
            with T.serial(0, self.columns - done) as rest, T.serial(0, 3) as channel:
                x = T.Bind(rest + done)
                pair = T.Bind(self.weights[_place_of_weight(x)])
                source = tirx.Select(self.swap == 0, channel, 2 - channel)
                near, far = (T.Cast(I32, self.image[y, 0, at[x] + source]) for at in (self.near, self.far))
                total = near * tirx.bitwise_and(pair, 65535) + far * (pair >> 16)
                T.buffer_store(self.rows, T.Cast(I16, total >> 4), [y % 2, 3 * x + channel])

    def _four(self, y: Any, step: Any) -> None:
        """Pixels 0 and 2, then 1 and 3, each pair in the halves of a register: packing them then needs no crossing."""
        order = T.Bind(self.order.vload([0], f"{U8}x32"))
        sums = []
        for odd in range(2):
            pixels = [self.image.vload([y, 0, self.near[STEP * step + odd + 2 * half]], f"{U8}x16") for half in (0, 1)]
            joined = tirx.Shuffle(pixels, list(range(2 * READ)))
            pairs = tirx.call_llvm_pure_intrin(f"{U8}x32", "llvm.x86.avx2.pshuf.b", joined, order)
            weights = self.weights.vload([STEP * STEP * step + 8 * odd], f"{I32}x8")
            pairs, weights = (T.reinterpret(f"{I16}x16", value) for value in (pairs, weights))
            total = tirx.call_llvm_pure_intrin(f"{I32}x8", "llvm.x86.avx2.pmadd.wd", pairs, weights)
            sums.append(total >> splat(4, 8, I32))
        packed = T.Bind(tirx.call_llvm_pure_intrin(f"{I16}x16", "llvm.x86.avx2.packssdw", *sums))
        for half in range(2):  # Two pixels of three channels; what two lanes more write, the next ones write again.
            pixels = tirx.Shuffle([packed], [8 * half + lane for lane in (0, 1, 2, 4, 5, 6, 7, 7)])
            T.buffer_store(self.rows, pixels, [y % 2, T.ramp(12 * step + 6 * half, 1, 8)])

    def mix(self, canvas: Any, start: tuple[Any, Any], rows: tuple[Any, Any], part: Any) -> None:
        """Write the pixels between two rows that are there, from (y, x) of the canvas on."""
        y, x = start
        weights = [T.Bind(T.Cast(I16, _weight(weight))) for weight in (splat(1.0, 1) - part, part)]

        def write(at: Any, lanes: int) -> None:
            halves = []
            for row, weight in zip(rows, weights, strict=True):
                value = load(self.rows, [row % 2, at], lanes, I16)
                every = weight if lanes == 1 else tirx.Broadcast(weight, lanes)
                product = T.Cast(vector(lanes, I32), value) * T.Cast(vector(lanes, I32), every)
                halves.append(T.Cast(vector(lanes, I16), product >> splat(16, lanes, I32)))
            value = (halves[0] + halves[1] + splat(2, lanes, I16)) >> splat(2, lanes, I16)
            store(canvas, T.Cast(vector(lanes, U8), value), [y, x, at], lanes)

        _for_all(self.columns * 3, write)


def _fill(canvas: Any, fill: list[Any], content: tuple[Any, Any, Any, Any], canvas_hw: tuple[Any, Any]) -> None:
    """Write what the content (first_y, past_y, first_x, past_x) leaves."""
    first_y, past_y, first_x, past_x = content
    height, width = canvas_hw
    blank = T.alloc_buffer((3 * width,), U8, scope="global")
    with T.serial(0, width) as x:
        for channel, value in enumerate(fill):
            T.buffer_store(blank, T.Cast(U8, value), [3 * x + channel])
    with T.serial(0, height) as y, T.serial(0, 2) as side:
        beside = T.Bind(tirx.all(y >= first_y, y < past_y))
        start = T.Bind(tirx.Select(tirx.all(beside, side == 1), past_x, tirx.const(0, I32)))
        past = T.Bind(tirx.Select(tirx.all(beside, side == 0), first_x, tirx.Select(side == 0, start, width)))

        def write(at: Any, lanes: int) -> None:
            store(canvas, load(blank, [at], lanes, U8), [y, start, at], lanes)

        _for_all((past - start) * 3, write)


def _for_all(count: Any, write: Any) -> None:
    """`write(start, lanes)` for all of `count` bytes."""
    steps = T.Bind(count // BYTES)
    with T.serial(0, steps) as step:
        write(step * BYTES, BYTES)
    with T.serial(0, count - steps * BYTES) as rest:
        write(steps * BYTES + rest, 1)


def _place_of_weight(x: Any) -> Any:
    return x // STEP * (STEP * STEP) + x % 2 * 8 + x % STEP // 2 * STEP


def _visible(start: Any, size: Any, canvas: Any) -> tuple[Any, Any]:
    """The first px of the content on the canvas along an axis, and the one after its last."""
    first = T.Bind(tirx.Min(canvas, tirx.Max(tirx.const(0, I32), start)))
    return first, T.Bind(tirx.Max(first, tirx.Min(canvas, start + size)))


def _place(index: Any, size: Any, content: Any) -> tuple[Any, Any]:
    """Which of `size` px lies before px `index` of `content`, and how far behind it that is: 0..1."""
    scale = tirx.const(1.0, F64) / (T.Cast(F64, content) / T.Cast(F64, size))
    at = T.Bind(T.Cast(F32, (T.Cast(F64, index) + tirx.const(0.5, F64)) * scale - tirx.const(0.5, F64)))
    start = T.Bind(T.Cast(I32, tirx.floor(at)))
    return start, T.Bind(at - T.Cast(F32, start))


def _between(index: Any, size: Any, content: Any) -> tuple[Any, Any, Any]:
    """The rows about row `index` of `content`, at the edges those of the image, and the part of the second."""
    start, part = _place(index, size, content)
    above, below = (T.Bind(tirx.Max(tirx.const(0, I32), tirx.Min(row, size - 1))) for row in (start, start + 1))
    return above, below, part


def _weight(part: Any) -> Any:
    return T.Cast(I32, tirx.nearbyint(part * splat(WEIGHT_ONE, 1)))
