"""Net and weights -> TorchScript and ONNX files, finished only when parity with the eager net is measured."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import onnx

from facedeploy.core.errors import ConfigError
from facedeploy.core.files import atomic_path
from facedeploy.export.canvas import canvas_name, check_canvas
from facedeploy.export.graph_metadata import graph_metadata
from facedeploy.export.onnx_graph import onnx_graph
from facedeploy.export.opset import DEFAULT_OPSET, check_opset
from facedeploy.export.parity import (
    OutputParity,
    check_parity,
    compare,
    noise_pixels,
    run_eager,
    run_onnx,
    run_torchscript,
)
from facedeploy.export.torchscript import write_torchscript
from facedeploy.export.weights import Weights, build_net
from facedeploy.models.flops import count_flops
from facedeploy.models.specs import ModelSpec

MAX_BATCH = 128


@dataclass(frozen=True)
class ExportedFile:
    """A file, its size and how far its outputs are from the eager net's."""

    path: Path
    size_bytes: int
    parity: tuple[OutputParity, ...]


@dataclass(frozen=True)
class ExportReport:
    """One canvas, exported. `flops` are multiply-adds of one image, counted as `models.flops` says."""

    model: str
    size_hw: tuple[int, int]
    batch: int
    parameters: int
    flops: int
    torchscript: ExportedFile
    onnx: ExportedFile


def export_model(
    spec: ModelSpec,
    size_hw: tuple[int, int],
    *,
    weights: Weights,
    batch: int = 1,
    opset: int = DEFAULT_OPSET,
    output_dir: Path,
) -> ExportReport:
    """Write `<model>_<size>.torchscript.pt` and `<model>_<size>.onnx` for inputs of (batch, 3, height, width).

    Both appear only after both have computed, from disk, what the eager net computes, within 1e-4 max(1, max|b|) of
    every output. Raises ConfigError for a size, batch, opset or folder that cannot be used, ParityError otherwise.
    """
    check_opset(opset)
    if not 1 <= batch <= MAX_BATCH:
        raise ConfigError(f"batch {batch}: expected 1..{MAX_BATCH}")
    shape = (batch, 3, *check_canvas(size_hw))
    net = build_net(spec, weights)
    metadata = graph_metadata(spec, weights)
    x = noise_pixels(spec, shape)
    expected = run_eager(net, x)
    stem = f"{spec.name}_{canvas_name(size_hw)}"
    torchscript_path, onnx_path = output_dir / f"{stem}.torchscript.pt", output_dir / f"{stem}.onnx"
    try:
        with ExitStack() as unfinished:
            torchscript_file = unfinished.enter_context(atomic_path(torchscript_path))
            write_torchscript(torchscript_file, net, shape, metadata)
            torchscript_parity = compare(run_torchscript(torchscript_file, x), expected)
            check_parity(torchscript_parity, str(torchscript_path))

            onnx_file = unfinished.enter_context(atomic_path(onnx_path))
            onnx.save(onnx_graph(net, shape, opset, metadata, output_names=spec.outputs), onnx_file)
            outputs = run_onnx(onnx_file, x)
            onnx_parity = compare([outputs[name] for name in spec.outputs], expected)
            check_parity(onnx_parity, str(onnx_path))
    except OSError as error:
        raise ConfigError(f"{output_dir}: cannot be written ({error.strerror}): choose another --output_dir") from error
    return ExportReport(
        model=spec.name,
        size_hw=size_hw,
        batch=batch,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        flops=count_flops(net, size_hw).total,
        torchscript=ExportedFile(torchscript_path, torchscript_path.stat().st_size, torchscript_parity),
        onnx=ExportedFile(onnx_path, onnx_path.stat().st_size, onnx_parity),
    )
