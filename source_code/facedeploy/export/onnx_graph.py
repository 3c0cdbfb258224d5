"""A net becomes an ONNX graph of static shapes, simplified."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import onnxsim
import torch
from torch import nn

from facedeploy.export.opset import DEFAULT_OPSET, check_opset
from facedeploy.models.specs import OUTPUTS


def onnx_graph(
    net: nn.Module,
    shape: tuple[int, int, int, int],
    opset: int = DEFAULT_OPSET,
    metadata: Mapping[str, str] | None = None,
    *,
    input_name: str = "input",
    output_names: Sequence[str] = OUTPUTS,
) -> onnx.ModelProto:
    """The graph of `net` (eager, or a loaded TorchScript module) for an input of `shape` (N, 3, H, W).

    Batch norms are folded; `metadata` goes into metadata_props. Raises ConfigError when `opset` cannot be exported, and
    what torch raises for operators that ONNX lacks.
    """
    check_opset(opset)
    with TemporaryDirectory() as folder:
        file = str(Path(folder) / "exported.onnx")
        with warnings.catch_warnings():
            # Of the older exporter, which needs no further package; of constant shapes.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                net,
                (torch.zeros(shape),),
                file,
                input_names=[input_name],
                output_names=list(output_names),
                opset_version=opset,
                dynamo=False,
            )
        # What it reads off a file onnxsim lets go of, so that weights (DSFD's are 480 MB) are in memory twice less.
        model, _ = onnxsim.simplify(file)
    onnx.helper.set_model_props(model, dict(metadata or {}))
    return model
