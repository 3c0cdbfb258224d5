"""`mod.params`: the parameters as the file has them, and as kernels read them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.artifact.half import STORAGE, FloatArray, Half, from_half
from facedeploy.artifact.manifest import Argument, KernelCall, Weights, lay_out
from facedeploy.artifact.winograd import POINTS, TAPS, transform
from facedeploy.core.tensor_spec import bytes_of

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Parameter:
    """A tensor that kernels read `at` a place in memory, and from which byte the file has it.

    `half` is what the file has in place of float32; None where it has what memory has. `winograd`: of kernels'
    transforms, (36, ...), the file has the kernels, (9, ...).
    """

    at: Argument
    offset: int
    half: Half | None
    winograd: bool

    @property
    def file_bytes(self) -> int:
        """What the file has of it."""
        if self.half is None:
            return bytes_of(self.at.shape, self.at.dtype)
        count = prod(self.at.shape)
        return STORAGE[self.half].itemsize * (count // POINTS * TAPS if self.winograd else count)

    def in_file(self, file: Bytes) -> npt.NDArray[Any]:
        """Its numbers in the file, in a row, (9, N) for kernels; bytes where it is not `half`."""
        stored = file[self.offset : self.offset + self.file_bytes]
        if self.half is None:
            return stored
        return stored.view(STORAGE[self.half]).reshape((TAPS, -1) if self.winograd else -1)

    def in_memory(self, memory: Bytes) -> npt.NDArray[Any]:
        """Its numbers in memory, in a row, (36, N) for transforms; bytes where it is not `half`."""
        numbers = memory[self.at.offset : self.at.offset + bytes_of(self.at.shape, self.at.dtype)]
        if self.half is None:
            return numbers
        return numbers.view(np.float32).reshape((POINTS, -1) if self.winograd else -1)

    def expand(self, file: Bytes, memory: Bytes) -> None:
        """Write to memory what the file says."""
        stored, numbers = self.in_file(file), self.in_memory(memory)
        if self.half is None:
            numbers[...] = stored
        elif self.winograd:
            kernels: FloatArray = np.empty(stored.shape, np.float32)
            from_half(stored, self.half, kernels)
            transform(kernels, numbers)
        else:
            from_half(stored, self.half, numbers)


@dataclass(frozen=True)
class ParameterLayout:
    """All parameters, in the order in which they lie in memory and in the file, and the sizes of both."""

    parameters: tuple[Parameter, ...]
    memory_bytes: int
    file_bytes: int


def parameter_layout(calls: Sequence[KernelCall], weights: Weights) -> ParameterLayout:
    """Where everything lies. Raises ValueError when the places that calls read do not follow one another."""
    found = {argument for call in calls for argument in call.arguments if argument.region == "parameters"}
    places = sorted(found, key=lambda at: (at.offset, bytes_of(at.shape, at.dtype)))
    expected, memory_bytes = lay_out(bytes_of(at.shape, at.dtype) for at in places)
    for at, offset in zip(places, expected, strict=True):
        if at.offset != offset:
            raise ValueError(f"calls: a parameter of {at.dtype}{list(at.shape)} at {at.offset}, expected at {offset}")
    half = None if weights.dtype == "float32" else weights.dtype
    exact = {at for call in calls if _has_integers(call) for at in call.arguments}
    parameters = [
        Parameter(at, 0, half if at.dtype == "float32" and at not in exact else None, at.offset in weights.winograd)
        for at in places
    ]
    transforms = {each.at.offset for each in parameters if each.half and each.at.shape[:1] == (POINTS,)}
    if strange := sorted(set(weights.winograd) - transforms):
        raise ValueError(f"weights.winograd: got {strange[0]}, where no transforms of kernels lie")
    offsets, file_bytes = lay_out(parameter.file_bytes for parameter in parameters)
    placed = (replace(parameter, offset=offset) for parameter, offset in zip(parameters, offsets, strict=True))
    return ParameterLayout(tuple(placed), memory_bytes, file_bytes)


def _has_integers(call: KernelCall) -> bool:
    """Whether its float32 parameters are the scales of integers: few numbers, and perhaps too small for float16."""
    return any(at.dtype in ("int8", "uint8") for at in call.arguments)
