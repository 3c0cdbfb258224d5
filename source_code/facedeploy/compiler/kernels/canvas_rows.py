"""Rows of a u8 canvas as what a model's first layer reads: normalized planes of floats, or integers with a halo."""

from dataclasses import dataclass
from typing import Any, Protocol

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.emit import F32, broadcast, for_lanes, load, splat, store, vector
from facedeploy.compiler.kernels.blocked.integers import GROUP, U8

I32 = "int32"
PIXELS = 16  # Written at a time.
READ_BEHIND = 64  # Bytes behind a row that may be read.


class CanvasRows(Protocol):
    """A tensor of a batch of canvases, written row by row; a function of TIR is built meanwhile."""

    def tensor(self) -> tuple[Any, Any]:
        """Make it an argument; returns height and width of its canvas, px, known at run time."""

    def begin(self, position: Any) -> None:
        """Take more arguments; what follows is of the image at this position of the batch."""

    def write(self, line: Any, y: Any) -> None:
        """Row `y` is 3 bytes a pixel of `line`, which goes on for READ_BEHIND bytes of anything."""


class FloatRows:
    """(N, 3, H, W) float32: (pixel / scale - mean) / std, a float32 step at a time; scale, mean and std are arguments.

    As `Normalization` says, so that the result equals the numpy path to the bit: a division stays a division.
    """

    def tensor(self) -> tuple[Any, Any]:
        """As CanvasRows."""
        batch, height, width = (tirx.Var(name, I32) for name in ("N", "H", "W"))
        self._tensor = T.arg("tensor", T.buffer((batch, 3, height, width), F32))
        return height, width

    def begin(self, position: Any) -> None:
        """As CanvasRows."""
        self._position = position
        self._scale = T.arg("scale", T.float32())
        self._mean, self._std = ([T.arg(f"{name}_{c}", T.float32()) for c in range(3)] for name in ("mean", "std"))
        # Divisions by 1 change nothing, and would take most of the time.
        self._divides = T.Bind(tirx.any(*(divisor != tirx.const(1.0, F32) for divisor in (self._scale, *self._std))))

    def write(self, line: Any, y: Any) -> None:
        """As CanvasRows."""
        with T.If(self._divides):
            with T.Then():
                self._write(line, y, divides=True)
            with T.Else():
                self._write(line, y, divides=False)

    def _write(self, line: Any, y: Any, divides: bool) -> None:
        width = self._tensor.shape[3]

        def some(x: Any, lanes: int) -> None:
            window = T.Bind(load(line, [3 * x], READ_BEHIND, U8)) if lanes > 1 else None
            for channel in range(3):
                picked = [tirx.const(3 * pixel + channel, I32) for pixel in range(lanes)]
                pixels = line[3 * x + channel] if window is None else tirx.Shuffle([window], picked)
                value = T.Cast(vector(lanes, F32), pixels)
                if divides:
                    value = value / broadcast(self._scale, lanes)
                value = value - broadcast(self._mean[channel], lanes)
                if divides:
                    value = value / broadcast(self._std[channel], lanes)
                store(self._tensor, value, [self._position, channel, y, x], lanes)

        for_lanes(width, PIXELS, some)


@dataclass
class IntegerRows:
    """(N, 1, H + 2 halo, W + 2 halo, 4) u8, the pixels themselves; around them, what stands for zero in each channel.

    `Blocked` has more of that layout.
    """

    halo: int
    zero_point: tuple[int, ...]  # A number for each of the 4 bytes.

    def tensor(self) -> tuple[Any, Any]:
        """As CanvasRows."""
        batch, height, width = (tirx.Var(name, I32) for name in ("N", "H", "W"))
        self._tensor = T.arg("tensor", T.buffer((batch, 1, height, width, GROUP), U8))
        return height - 2 * self.halo, width - 2 * self.halo

    def begin(self, position: Any) -> None:
        """As CanvasRows. Writes the halo."""
        self._position = position
        self._zero = tirx.const(int.from_bytes(bytes(self.zero_point), "little", signed=True), I32)
        batch, _, height, width, _ = self._tensor.shape
        self._words = T.decl_buffer((batch, height, width), I32, data=self._tensor.data)  # A pixel is a word.
        for edge in range(self.halo):
            with T.serial(0, width) as x:
                self._put_zero(edge, x)
                self._put_zero(height - 1 - edge, x)
            with T.serial(0, height) as y:
                self._put_zero(y, edge)
                self._put_zero(y, width - 1 - edge)

    def _put_zero(self, y: Any, x: Any) -> None:
        T.buffer_store(self._words, self._zero, [self._position, y, x])

    def write(self, line: Any, y: Any) -> None:
        """As CanvasRows."""
        width = self._words.shape[2] - 2 * self.halo

        def some(x: Any, lanes: int) -> None:
            if lanes == 1:
                channels = [T.Cast(I32, line[3 * x + channel]) for channel in range(3)]
                word = channels[0] | (channels[1] << 8) | (channels[2] << 16)
            else:
                word = self._spread(line, x)
            store(self._words, word, [self._position, y + self.halo, x + self.halo], lanes)

        for_lanes(width, PIXELS, some)

    def _spread(self, line: Any, x: Any) -> Any:
        """3 bytes a pixel -> 4, in two steps that are an instruction each: three words to a group of four pixels, and
        then bytes within the group.
        """
        words = T.Bind(tirx.reinterpret(f"{I32}x{PIXELS}", T.Bind(load(line, [3 * x], READ_BEHIND, U8))))
        groups = [3 * group + min(word, 2) for group in range(4) for word in range(4)]
        spread = tirx.Shuffle([words], [tirx.const(word, I32) for word in groups])
        grouped = T.Bind(tirx.reinterpret(f"{U8}x{READ_BEHIND}", T.Bind(spread)))
        picked = [
            16 * group + 3 * pixel + channel if channel < 3 else READ_BEHIND
            for group in range(4)
            for pixel in range(4)
            for channel in range(GROUP)
        ]
        spread = tirx.Shuffle([grouped, splat(0, READ_BEHIND, U8)], [tirx.const(byte, I32) for byte in picked])
        return tirx.reinterpret(f"{I32}x{PIXELS}", T.Bind(spread))
