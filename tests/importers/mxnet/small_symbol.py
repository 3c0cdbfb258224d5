"""Small symbols, node by node, with random parameters; and the comparison of one with its import."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from evaluate_symbol import evaluate_symbol
from params_file import params_bytes

from facedeploy.importers.mxnet.import_mxnet import import_mxnet

BOUND = 1e-4  # max|a - b| <= BOUND max(1, max|b|).
AUX = ("moving_mean", "moving_var")


class Net:
    """Every method returns the number of what it makes, which goes into others."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[dict[str, Any]] = []
        self.params: dict[str, np.ndarray] = {}
        self.data = self.variable("data")

    def variable(self, name: str, shape: tuple[int, ...] | None = None) -> int:
        self.nodes.append({"op": "null", "name": name, "inputs": []})
        if shape is not None:
            low, high = (0.5, 1.5) if name.endswith("var") else (-1, 1)
            array = self.random.uniform(low, high, shape).astype(np.float32)
            self.params[("aux:" if name.endswith(AUX) else "arg:") + name] = array
        return len(self.nodes) - 1

    def add(self, op: str, *inputs: int, name: str = "", **attributes: object) -> int:
        words = {key: str(value) for key, value in attributes.items()}
        name = name or f"{op.lower().strip('_')}{len(self.nodes)}"
        self.nodes.append({"op": op, "name": name, "attrs": words, "inputs": [[index, 0, 0] for index in inputs]})
        return len(self.nodes) - 1

    def convolution(self, source: int, channels: int, filters: int, kernel: Any = (1, 1), **attributes: Any) -> int:
        name = f"conv{len(self.nodes)}"
        shape = (filters, channels // attributes.get("num_group", 1), *kernel)
        inputs = [source, self.variable(f"{name}_weight", shape)]
        if not attributes.get("no_bias", False):
            inputs.append(self.variable(f"{name}_bias", (filters,)))
        return self.add("Convolution", *inputs, name=name, kernel=kernel, num_filter=filters, **attributes)

    def batch_norm(self, source: int, channels: int, **attributes: Any) -> int:
        name = f"norm{len(self.nodes)}"
        roles = ("gamma", "beta", *AUX)
        inputs = [self.variable(f"{name}_{role}", (channels,)) for role in roles]
        return self.add("BatchNorm", source, *inputs, name=name, **attributes)

    def symbol(self, *heads: int) -> dict[str, Any]:
        heads = heads or (len(self.nodes) - 1,)
        variables = [index for index, node in enumerate(self.nodes) if node["op"] == "null"]
        return {"nodes": self.nodes, "arg_nodes": variables, "heads": [[index, 0, 0] for index in heads]}

    def write(self, folder: Path, *heads: int) -> tuple[Path, Path]:
        symbol, params = folder / "net-symbol.json", folder / "net-0000.params"
        symbol.write_text(json.dumps(self.symbol(*heads)))
        params.write_bytes(params_bytes(self.params))
        return symbol, params

    def check(self, folder: Path, shape: tuple[int, int, int, int], *heads: int) -> onnx.ModelProto:
        """The import of the net computes what the net does; both are for an image of noise."""
        symbol, params = self.write(folder, *heads)
        model = import_mxnet(symbol, params, shape)
        image = np.random.default_rng(1).uniform(-2, 2, shape).astype(np.float32)
        check_outputs(model, evaluate_symbol(self.symbol(*heads), without_prefix(self.params), image), image)
        return model


def without_prefix(params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name[4:]: array for name, array in params.items()}


def check_outputs(model: onnx.ModelProto, expected: dict[str, np.ndarray], image: np.ndarray) -> None:
    """The model is valid, its shapes are what onnx infers, and onnxruntime makes `expected` of it."""
    onnx.checker.check_model(model, full_check=True)
    assert [entry.name for entry in model.graph.output] == list(expected)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    got = dict(zip(expected, session.run(None, {"data": image}), strict=True))
    for entry in model.graph.output:
        b, a = expected[entry.name], got[entry.name]
        assert tuple(side.dim_value for side in entry.type.tensor_type.shape.dim) == b.shape == a.shape
        assert np.isfinite(b).all()
        assert np.abs(a - b).max() <= BOUND * max(1.0, np.abs(b).max()), entry.name
