"""A net becomes a TorchScript file of static shapes."""

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import torch
from torch import Tensor, nn


def write_torchscript(
    path: Path, net: nn.Module, shape: tuple[int, int, int, int], metadata: Mapping[str, str] | None = None
) -> None:
    """Trace `net` for an input of `shape` (N, 3, H, W); `metadata` entries become extra files of the archive.

    The same net and shape give the same bytes. Raises OSError when `path` cannot be written.
    """

    # A traced function, unlike a module, is not numbered by how much this process has traced before.
    def forward(x: Tensor) -> tuple[Tensor, ...]:
        outputs: tuple[Tensor, ...] = net(x)
        return outputs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is in maintenance; shapes are constants on purpose.
        traced = torch.jit.trace(forward, torch.zeros(shape), check_trace=False)
        archive = traced.save_to_buffer(_extra_files=dict(metadata or {}))
    _write_without_traces_of_build(archive, path)


def _write_without_traces_of_build(archive: bytes, path: Path) -> None:
    """Leave out the source locations, which name folders of this machine, and the hash that covers them."""
    with ZipFile(io.BytesIO(archive)) as source, ZipFile(path, "w") as target:
        for entry in source.infolist():
            if not entry.filename.endswith((".debug_pkl", "/serialization_id")):
                target.writestr(ZipInfo(entry.filename), source.read(entry))
