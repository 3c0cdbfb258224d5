"""A net becomes an ONNX graph of static shapes, simplified."""

import io
import warnings
from collections.abc import Mapping, Sequence

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
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of the older exporter, which needs no further package; of constant shapes.
        torch.onnx.export(
            net,
            (torch.zeros(shape),),
            buffer,  # type: ignore[arg-type]  # Its annotation knows paths only.
            input_names=[input_name],
            output_names=list(output_names),
            opset_version=opset,
            dynamo=False,
        )
    model, _ = onnxsim.simplify(onnx.load_from_string(buffer.getvalue()))
    onnx.helper.set_model_props(model, dict(metadata or {}))
    return model
