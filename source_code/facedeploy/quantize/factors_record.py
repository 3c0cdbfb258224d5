"""The record of an equalization in the quantized model's metadata: by it, tensors compare with the float model's."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.quantize.graph import Graph

KEY = "facedeploy.channel_factors"


def record_factors(model: Any, factors: Mapping[str, npt.NDArray[np.float64]]) -> None:
    """Write into an onnx.ModelProto what the channels (C,) of each convolution's output were divided by."""
    graph = Graph.of(model)
    made = [node.output[0] for node in graph.nodes if graph.is_convolution(node)]
    record = {
        name: base64.b64encode(factors[name].astype("<f4").tobytes()).decode()
        for name in made
        if name in factors and (factors[name] != 1).any()
    }
    if record:
        model.metadata_props.add(key=KEY, value=json.dumps(record))


def recorded_factors(metadata: Mapping[str, str]) -> dict[str, npt.NDArray[np.float32]]:
    """Of the metadata of such a model: (C,) by the name of a convolution's output; empty where there is no record.

    Raises ValueError for a record that is none of `record_factors`.
    """
    if KEY not in metadata:
        return {}
    try:
        record: Any = json.loads(metadata[KEY])
        return {str(name): np.frombuffer(base64.b64decode(text), "<f4") for name, text in record.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"metadata {KEY}: not a table of factors ({error})") from error
