"""MXNet's `.params`: a binary file of arrays, each named `arg:...` (weights) or `aux:...` (statistics)."""

import struct
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from facedeploy.core.errors import CheckpointError
from facedeploy.core.shown import shown

Array = npt.NDArray[Any]

FILE_MAGIC = 0x112
V1_MAGIC = 0xF993FAC8
V2_MAGIC = 0xF993FAC9  # Says in addition how the array is stored.
DENSE = 0
STORAGES = {1: "row sparse", 2: "CSR"}
MOST_SIDES = 32
DEVICES = (1, 2, 3, 5)  # CPU, GPU, pinned and shared memory: where the array was, which does not matter here.
DTYPES = dict(enumerate(map(np.dtype, ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8"))))
PREFIXES = ("arg:", "aux:")
SMALLEST_ARRAY = struct.calcsize("<IIqiii")
SMALLEST_NAME = struct.calcsize("<Q")


def read_params(path: Path) -> dict[str, Array]:
    """The arrays of a `.params` file by their names without `arg:` and `aux:`, in the file's order; read-only views.

    No more is allocated than the file's size. Raises CheckpointError: a file that cannot be read, that is no such file,
    is cut short or damaged, or has what facedeploy does not read: sparse arrays, other versions, other names.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path}: cannot be read ({reason})") from error
    return _Reader(path, content).arrays()


class _Reader:
    """Takes a file apart from front to back; `place` is said in errors."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self.content = path, content
        self.offset = 0
        self.place = "the header"

    def arrays(self) -> dict[str, Array]:
        magic, reserved = self.take("QQ")
        if magic != FILE_MAGIC or reserved != 0:
            self.refuse(f"is no MXNet .params file: starts with {magic:#x} {reserved:#x}, not {FILE_MAGIC:#x}")
        arrays = [self.array(index) for index in range(self.count("arrays", SMALLEST_ARRAY))]
        self.place = "the names"
        count = self.count("names", SMALLEST_NAME)
        if count != len(arrays):
            self.refuse(f"has {count:,} names for {len(arrays):,} arrays")
        named: dict[str, Array] = {}
        for array in arrays:
            name = self.name()
            if name in named:
                self.refuse(f"has two arrays of the name {shown(name)}")
            named[name] = array
        left = len(self.content) - self.offset
        if left:
            self.refuse(f"goes on after its end, by {left:,} bytes")
        return named

    def array(self, index: int) -> Array:
        self.place = f"array {index}"
        (magic,) = self.take("I")
        if magic not in (V1_MAGIC, V2_MAGIC):
            self.refuse(
                f"{self.place} starts with {magic:#x}, expected {V1_MAGIC:#x} or {V2_MAGIC:#x} (MXNet 0.12 to 1.9)"
            )
        if magic == V2_MAGIC:
            (storage,) = self.take("i")
            if storage != DENSE:
                kind = STORAGES.get(storage, f"of storage type {storage}")
                self.refuse(f"{self.place} is {kind}, expected a dense one")
        (rank,) = self.take("I")
        if not 1 <= rank <= MOST_SIDES:
            self.refuse(f"{self.place} has {rank:,} dimensions, expected 1 to {MOST_SIDES}")
        shape = self.take(f"{rank}q")
        if min(shape) < 1:
            self.refuse(f"{self.place} has the shape {list(shape)}, expected sides of 1 or more")
        device, _, number = self.take("iii")
        if device not in DEVICES:
            self.refuse(f"{self.place} has the device type {device}, expected one of {', '.join(map(str, DEVICES))}")
        if number not in DTYPES:
            self.refuse(f"{self.place} has the dtype {number}, expected one of 0 to {max(DTYPES)}")
        dtype = DTYPES[number]
        start = self.advance(prod(shape) * dtype.itemsize, f"of the shape {list(shape)} ")
        return np.frombuffer(self.content, dtype, prod(shape), start).reshape(shape)

    def name(self) -> str:
        (length,) = self.take("Q")
        start = self.advance(length)
        try:
            name = self.content[start : self.offset].decode()
        except UnicodeDecodeError:
            self.refuse("has a name that is not text")
        if not name.startswith(PREFIXES) or name in PREFIXES:
            self.refuse(f"has the name {shown(name)}, expected arg:NAME or aux:NAME")
        return name[len(PREFIXES[0]) :]

    def count(self, what: str, smallest: int) -> int:
        """A count of things of which each has at least so many bytes."""
        (count,) = self.take("Q")
        left = len(self.content) - self.offset
        if count * smallest > left:
            self.refuse(f"says that it has {count:,} {what}, which its {left:,} further bytes cannot hold")
        return int(count)

    def take(self, kinds: str) -> tuple[int, ...]:
        start = self.advance(struct.calcsize(f"<{kinds}"))
        return struct.unpack_from(f"<{kinds}", self.content, start)

    def advance(self, size: int, described: str = "") -> int:
        """Where the next `size` bytes start."""
        start, left = self.offset, len(self.content) - self.offset
        if size > left:
            self.refuse(f"ends too early: {self.place} {described}needs {size:,} bytes more, {left:,} are left")
        self.offset += size
        return start

    def refuse(self, problem: str) -> NoReturn:
        raise CheckpointError(f"{self.path}: {problem}; copy or download the file again, or save it anew with MXNet")
