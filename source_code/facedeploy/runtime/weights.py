"""The weights of an artifact, in memory."""

import mmap
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi

from facedeploy.artifact.manifest import ALIGNMENT

HUGE_PAGE = 2 * 1024 * 1024


def load_weights(path: Path) -> list[Any]:
    """The tensors of `mod.params` in the order of the parameters of `main`.

    They share one region, which is in huge pages where the system lends them: a net of 100 MB reads more small pages
    than the processor keeps addresses of (Resnet50 at 640 px: 5 % of a call).
    """
    loaded = tvm.runtime.load_param_dict(path.read_bytes())
    arrays = [loaded[str(index)].numpy() for index in range(len(loaded))]
    ends = np.cumsum([0, *(-(-array.nbytes // ALIGNMENT) * ALIGNMENT for array in arrays)])
    # Private, since shared memory has huge pages only where an administrator allows them.
    region = mmap.mmap(-1, int(ends[-1]) + HUGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(AttributeError, OSError):  # Another system, or one without huge pages.
        region.madvise(mmap.MADV_HUGEPAGE)
    memory = np.frombuffer(region, np.uint8)
    memory = memory[-memory.ctypes.data % HUGE_PAGE :]
    tensors = []
    for array, start in zip(arrays, ends[:-1], strict=True):
        view = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        view[...] = array
        tensors.append(tvm_ffi.from_dlpack(view, require_alignment=ALIGNMENT))
    return tensors
