"""Any bytes of a few that lie together, as numbers of 16 bits: what permutes within the registers of x86-64."""

from typing import Any, Protocol

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.emit import splat
from facedeploy.compiler.target import Target

I16, U8, U16 = "int16", "uint8", "uint16"


class ByteWindow(Protocol):
    """`lanes` numbers at once are picked from `bytes` bytes; each is 128 times its byte."""

    lanes: int
    bytes: int

    def index(self, byte: Any) -> Any:
        """What picks this byte; 16 bits of it count."""

    def open(self, window: Any) -> Any:
        """The bytes, a vector of u8, as `pick` takes them."""

    def pick(self, opened: Any, indices: Any) -> Any:
        """A vector of i16, by a vector of indices as i16."""


class Ssse3Window:
    """Each byte goes into the high half of a number, above a zero."""

    lanes, bytes = 8, 16

    def index(self, byte: Any) -> Any:
        return byte * 256 + 128

    def open(self, window: Any) -> Any:
        return window

    def pick(self, opened: Any, indices: Any) -> Any:
        order = T.reinterpret(f"{U8}x16", indices)
        picked = tirx.call_llvm_pure_intrin(f"{U8}x16", "llvm.x86.ssse3.pshuf.b.128", opened, order)
        return T.reinterpret(f"{I16}x8", T.reinterpret(f"{U16}x8", picked) >> splat(1, 8, U16))


class Avx512Window:
    """AVX-512 BW permutes numbers of 16 bits alone: those of the even bytes and of the odd ones, in two registers."""

    lanes, bytes = 32, 64

    def index(self, byte: Any) -> Any:
        return byte % 2 * 32 + byte // 2

    def open(self, window: Any) -> Any:
        pairs = T.Bind(T.reinterpret(f"{U16}x32", window))
        shifted = pairs << splat(7, 32, U16), pairs >> splat(1, 32, U16)
        return [T.Bind(T.reinterpret(f"{I16}x32", half & splat(255 * 128, 32, U16))) for half in shifted]

    def pick(self, opened: Any, indices: Any) -> Any:
        even, odd = opened
        return tirx.call_llvm_pure_intrin(f"{I16}x32", "llvm.x86.avx512.vpermi2var.hi.512", even, indices, odd)


def byte_window(target: Target) -> ByteWindow | None:
    """The widest of an instruction set; None where it has no 256-bit integers: OpenCV is as fast then."""
    if "avx512bw" in target.features:
        return Avx512Window()
    return Ssse3Window() if "avx2" in target.features else None
