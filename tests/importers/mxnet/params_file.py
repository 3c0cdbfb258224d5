"""A writer of `.params` files, from the description of the format alone."""

import struct
from collections.abc import Sequence

import numpy as np

KINDS = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}


def array_bytes(array: np.ndarray, version: int = 2, storage: int = 0, device: int = 1) -> bytes:
    magic = struct.pack("<Ii", 0xF993FAC9, storage) if version == 2 else struct.pack("<I", 0xF993FAC8)
    shape = struct.pack(f"<I{array.ndim}q", array.ndim, *array.shape)
    return magic + shape + struct.pack("<iii", device, 0, KINDS[array.dtype.name]) + array.tobytes()


def file_bytes(arrays: Sequence[bytes], names: Sequence[bytes]) -> bytes:
    written = b"".join(struct.pack("<Q", len(name)) + name for name in names)
    header = struct.pack("<QQQ", 0x112, 0, len(arrays))
    return header + b"".join(arrays) + struct.pack("<Q", len(names)) + written


def params_bytes(named: dict[str, np.ndarray], version: int = 2) -> bytes:
    """Names as the file has them, with `arg:` or `aux:`."""
    return file_bytes([array_bytes(array, version) for array in named.values()], [name.encode() for name in named])
