"""Memory as compiled code wants it."""

import mmap
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedeploy.artifact.manifest import ALIGNMENT

HUGE_PAGE = 2 * 1024 * 1024
Bytes = npt.NDArray[np.uint8]


def aligned(size: int) -> Bytes:
    """`size` bytes of anything, aligned as compiled code expects."""
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size]


def huge(size: int) -> Bytes:
    """`size` zeros in huge pages, where the system lends them, for what every call goes through: a net has more small
    pages than the processor keeps addresses of (3 to 4 % of a call).
    """
    # Private, since shared memory has huge pages only where an administrator allows them.
    region = mmap.mmap(-1, size + HUGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(AttributeError, OSError):  # Another system, or one without huge pages.
        region.madvise(mmap.MADV_HUGEPAGE)
    memory = np.frombuffer(region, np.uint8)
    start = -memory.ctypes.data % HUGE_PAGE
    return memory[start : start + size]


def read_huge(path: Path) -> Bytes:
    """The bytes of a file, in huge pages."""
    memory = huge(path.stat().st_size)
    with path.open("rb", buffering=0) as file:
        left = memory.data
        while left:
            left = left[file.readinto(left) :]
    return memory
