"""Compiles one blocked kernel for this machine and runs it on numpy arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm

from facedeploy.compiler.kernels.blocked.direct import Source, Window, channel_blocks
from facedeploy.compiler.kernels.blocked.layout import Blocked, block_of
from facedeploy.compiler.pipeline import BUILT_KERNELS
from facedeploy.compiler.target import Target, host_features, resolve_target
from facedeploy.core.amx import FEATURE, request_amx

__all__ = ["FloatArray", "channel_blocks", "random", "run", "source_of", "targets"]

FloatArray = npt.NDArray[np.float32]


def targets() -> list[Target]:
    """Every level this machine can run: AVX-512, AVX2, SSE; each has tiles of its own."""
    has = host_features()
    levels = [resolve_target(name) for name in ("x86-64-v4", "x86-64-v3", "x86-64-v2")]
    return [level for level in levels if all(has.get(feature, False) for feature in level.features)]


def run(
    function: Any,
    target: Target,
    arguments: Sequence[npt.NDArray[Any]],
    outputs: Sequence[tuple[int, ...]],
    dtype: str = "float32",
) -> list[npt.NDArray[Any]]:
    """Outputs are filled with a number that no kernel of floats computes, so that what is not written shows."""
    if FEATURE in target.features:
        request_amx()
    module = tvm.IRModule({"kernel": function.with_attr("global_symbol", "kernel")})
    library = tvm.tirx.build(module, target=target.tvm_target, pipeline=BUILT_KERNELS)
    filler = 1e9 if dtype == "float32" else 171
    results = [tvm.runtime.tensor(np.full(shape, filler, dtype)) for shape in outputs]
    library["kernel"](*(tvm.runtime.tensor(np.ascontiguousarray(array)) for array in arguments), *results)
    return [result.numpy() for result in results]


def source_of(shape: tuple[int, ...], window: Window, output_hw: tuple[int, int], extra_halo: int = 0) -> Source:
    """All of a tensor (N, C, H, W), with the halo that the window needs."""
    batch, channels, height, width = shape
    halo = window.halo((height, width), output_hw) + extra_halo
    layout = Blocked(batch, channels, height, width, block_of(channels), halo)
    return Source(layout, 0, layout.blocks)


def random(shape: tuple[int, ...], seed: int = 0, scale: float = 1.0) -> FloatArray:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)
