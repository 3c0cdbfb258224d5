"""Memory as compiled code wants it."""

import ctypes
import mmap
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedeploy.artifact.manifest import ALIGNMENT

HUGE_PAGE = 2 * 1024 * 1024
Bytes = npt.NDArray[np.uint8]


# Options of glibc's mallopt, and what each is set to: one heap for all threads, which gives nothing back to the system
# but blocks of more than 32 MiB (the most that can be asked for), each of which is a mapping of its own.
_KEEP_FREED = {"M_ARENA_MAX": (-8, 1), "M_TRIM_THRESHOLD": (-1, 1 << 30), "M_MMAP_THRESHOLD": (-3, 32 << 20)}


def keep_freed() -> None:
    """Let this process keep memory that is freed, before its threads start; without glibc nothing happens.

    Else an image's pixels come from the system and go back there, image for image: 150 page faults each, which is a
    tenth of the time of decoding.
    """
    with suppress(AttributeError, OSError):  # Another C library, or another system.
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in _KEEP_FREED.values():
            mallopt(option, value)


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
