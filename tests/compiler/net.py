"""Small ONNX models, node by node, and what kinds of nodes a graph has."""

import numpy as np
import onnx
from onnx import helper

from facedeploy.compiler.graph.nodes import Graph, Operator


class Net:
    """Nodes and weights of a small ONNX model, node by node; every method returns the name of what it makes."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}

    def add(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, array: np.ndarray) -> str:
        name = f"constant_{len(self.weights)}"
        self.weights[name] = array
        return name

    def conv(
        self, source: str, inputs: int, outputs: int, kernel: int = 3, group: int = 1, **attributes: object
    ) -> str:
        rng = np.random.default_rng(len(self.nodes))
        weights = self.constant(rng.normal(0, 0.3, (outputs, inputs // group, kernel, kernel)).astype(np.float32))
        bias = self.constant(rng.normal(0, 1, outputs).astype(np.float32))
        pads = [kernel // 2] * 4
        return self.add("Conv", source, weights, bias, group=group, pads=pads, **attributes)


def kinds(graph: Graph) -> list[str]:
    return [node.name if isinstance(node, Operator) else type(node).__name__ for node in graph.nodes]
