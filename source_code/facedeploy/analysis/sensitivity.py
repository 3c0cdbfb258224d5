"""How much the outputs of a model move when one of its convolutions alone becomes integer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from facedeploy.compiler.quantize import CalibratedModel
from facedeploy.core.cores import available_cores
from facedeploy.core.requirement import require
from facedeploy.image.dataset import spread_evenly
from facedeploy.quantize.fold import fold
from facedeploy.quantize.graph import Array, Graph
from facedeploy.quantize.insert_qdq import SKIP_KEY, insert_qdq
from facedeploy.quantize.layers import selected_layers
from facedeploy.quantize.placement import becomes_integer

IMAGES = 8  # They rank layers; more change little but the time it takes.


@dataclass(frozen=True)
class Sensitivity:
    """A convolution, by name, and what its rounding does: root mean square error of the outputs, relative to theirs."""

    layer: str
    error: float


def rank_layers(found: CalibratedModel) -> list[Sensitivity]:
    """Every convolution that becomes integer, the most sensitive first.

    Each alone becomes integer as `insert_qdq` makes it, and onnxruntime runs the model on some calibration images; the
    errors of its outputs, each relative to the output's own size, count alike. Raises DependencyError without
    onnxruntime.
    """
    images = [found.samples[index] for index in spread_evenly(len(found.samples), IMAGES)]
    inputs = _batches(found.model, images)
    exact = _outputs(found.model, inputs)
    ranked = []
    for index in integer_layers(found):
        others = tuple(other for other in range(len(found.names)) if other != index)
        alone = replace(found.options, skip_conv_layers=others)
        outputs = _outputs(insert_qdq(found.model, found.calibration, alone, found.normalization), inputs)
        ranked.append(Sensitivity(found.names[index], _relative_error(exact, outputs)))
    return sorted(ranked, key=lambda each: -each.error)


def integer_layers(found: CalibratedModel) -> list[int]:
    """Indices, in graph order, of the convolutions that become integer."""
    graph = Graph.of(fold(found.model))
    skipped = selected_layers(found.names, found.options.skip_conv_layers, SKIP_KEY)
    convolutions = [node for node in graph.nodes if node.op_type == "Conv"]
    return [index for index, node in enumerate(convolutions) if index not in skipped and becomes_integer(graph, node)]


def _batches(model: Any, images: Sequence[Array]) -> list[dict[str, Array]]:
    """What the model is called with so that each of the images (3, H, W) is in a batch."""
    (entry,) = Graph.of(model).inputs
    batch = entry.type.tensor_type.shape.dim[0].dim_value
    return [
        {entry.name: np.stack([images[(start + offset) % len(images)] for offset in range(batch)])}
        for start in range(0, len(images), batch)
    ]


def _outputs(model: Any, inputs: Sequence[Mapping[str, Array]]) -> list[list[Array]]:
    """The outputs of an onnx.ModelProto for each call; QDQ is computed as it is written."""
    onnxruntime = require("onnxruntime", "compile", "Ranking the layers of a model")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = available_cores(), 1
    options.log_severity_level = 3
    # Else it takes integer kernels, and those of CPUs without VNNI may saturate.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [session.run(None, each) for each in inputs]


def _relative_error(exact: Sequence[Sequence[Array]], outputs: Sequence[Sequence[Array]]) -> float:
    """Root of the mean over the outputs of (squared error / squares)."""
    ratios = []
    for wanted, got in zip(zip(*exact, strict=True), zip(*outputs, strict=True), strict=True):
        squares = sum(float(np.square(each, dtype=np.float64).sum()) for each in wanted)
        errors = sum(
            float(np.square(mine - each, dtype=np.float64).sum()) for each, mine in zip(wanted, got, strict=True)
        )
        ratios.append(errors / squares if squares else float(errors > 0))
    return float(np.sqrt(np.mean(ratios)))
