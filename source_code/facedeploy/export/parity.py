"""How far an exported file is from the eager net, in numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import nn

from facedeploy.core.errors import FacedeployError
from facedeploy.models.specs import OUTPUTS, ModelSpec

FloatArray = npt.NDArray[np.float32]

TOLERANCE = 1e-4


class ParityError(FacedeployError):
    """An exported graph that does not compute what the eager net computes."""


@dataclass(frozen=True)
class OutputParity:
    """`difference` is max|a - b| over all elements of one output, b the eager net's; `limit` is 1e-4 max(1, max|b|)."""

    name: str
    difference: float
    limit: float

    @property
    def holds(self) -> bool:
        """False also when a value is not a number."""
        return self.difference <= self.limit


def noise_pixels(spec: ModelSpec, shape: tuple[int, int, int, int], seed: int = 0) -> FloatArray:
    """(N, 3, H, W) of uniform random pixels 0..255, normalized as the model expects."""
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8).astype(np.float32)
    scale = np.float32(spec.normalization.scale)
    mean, std = (np.array(x, np.float32).reshape(3, 1, 1) for x in (spec.normalization.mean, spec.normalization.std))
    return (pixels / scale - mean) / std


def run_eager(net: nn.Module, x: FloatArray) -> list[FloatArray]:
    """loc, conf and, of a net that has them, landms, as the net computes them."""
    with torch.inference_mode():
        return [output.numpy() for output in net(torch.from_numpy(x))]


def run_torchscript(path: Path, x: FloatArray) -> list[FloatArray]:
    """The outputs of a TorchScript file."""
    with torch.inference_mode():
        return [output.numpy() for output in torch.jit.load(path)(torch.from_numpy(x))]


def run_onnx(model: Path | bytes, x: FloatArray) -> dict[str, FloatArray]:
    """The outputs of an ONNX graph with one input, by name, as onnxruntime computes them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    source = str(model) if isinstance(model, Path) else model
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: x}), strict=True))


def compare(got: Sequence[FloatArray], expected: Sequence[FloatArray]) -> tuple[OutputParity, ...]:
    """Parity of each of `OUTPUTS`, the last of which may be missing; other shapes are infinitely far apart."""
    return tuple(
        OutputParity(
            name,
            float(np.abs(a - b).max()) if a.shape == b.shape else float("inf"),
            TOLERANCE * max(1.0, float(np.abs(b).max())),
        )
        for name, a, b in zip(OUTPUTS[: len(expected)], got, expected, strict=True)
    )


def check_parity(parity: Sequence[OutputParity], what: str) -> None:
    """Raises ParityError that names `what` and its worst output."""
    failed = [output for output in parity if not output.holds]
    if failed:
        worst = max(failed, key=lambda output: output.difference)
        raise ParityError(
            f"{what}: {worst.name} differs from the eager net by {worst.difference:.3g}, "
            f"at most {worst.limit:.3g} is allowed; nothing was written"
        )
