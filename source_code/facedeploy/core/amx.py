"""Leave to use AMX's tiles, for which Linux wants to be asked once by each process."""

import ctypes
import os

from facedeploy.core.errors import DeviceError

FEATURE = "amx-tile"  # LLVM's name.
# From Linux's asm/prctl.h and its documentation of x86 extended states.
ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, TILE_DATA = 158, 0x1023, 18


def request_amx() -> None:
    """Ask for all threads of this process, those to come too; asking again does nothing. Raises DeviceError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, TILE_DATA):
        reason = os.strerror(ctypes.get_errno())
        raise DeviceError(
            f"this system does not let programs use AMX ({reason}): update Linux to 5.16 or later, or compile with "
            "backend.target: x86-64-v4+avx512vnni"
        )
