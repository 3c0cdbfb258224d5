"""The ONNX graph while it is being made, and what a function that imports one kind of node works with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from facedeploy.core.errors import CheckpointError
from facedeploy.core.shown import shown
from facedeploy.importers.mxnet.attributes import Attributes
from facedeploy.importers.mxnet.symbol import Node

Shape = tuple[int, ...]
Weights = npt.NDArray[np.float32]
LARGEST_TENSOR = 1 << 31  # Numbers; more than that is a slip, not a net.


@dataclass(frozen=True)
class Tensor:
    """A value in the ONNX graph."""

    name: str
    shape: Shape


# (node, role such as "weight", name, shape) -> the parameter. Raises CheckpointError where it cannot be had.
FindParameter = Callable[[Node, str, str, Shape], Weights]


@dataclass
class Graph:
    """Nodes and constants so far, and where parameters come from."""

    find_parameter: FindParameter
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)


@dataclass
class Layer:
    """One node of the symbol: its attributes and inputs, and the ways to write ONNX nodes for it.

    `inputs` has None for a parameter, which `parameter` gives once its shape is known.
    """

    graph: Graph
    node: Node
    attributes: Attributes
    inputs: Sequence[Tensor | None]
    sources: Sequence[Node]

    def data(self, index: int = 0, rank: int | None = None) -> Tensor:
        """An input that is no parameter. Raises CheckpointError when it is one, or has another rank."""
        if index >= len(self.inputs):
            self.refuse(f"has {len(self.inputs)} inputs, expected {index + 1} or more")
        tensor = self.inputs[index]
        if tensor is None:
            self.refuse(
                f"its input {shown(self.sources[index].name)} is no image and not computed: only weights may be so"
            )
        if rank is not None and len(tensor.shape) != rank:
            self.refuse(f"its input has the shape {list(tensor.shape)}, expected {rank} dimensions")
        return tensor

    def expect_inputs(self, *counts: int) -> None:
        """Raises CheckpointError when the node has another number of inputs."""
        if len(self.inputs) not in counts:
            self.refuse(f"has {len(self.inputs)} inputs, expected {' or '.join(map(str, counts))}")

    def expect_size(self, shape: Shape) -> None:
        """Raises CheckpointError when what the node would make has nothing in it, or too much."""
        if min(shape) < 1 or prod(shape) > LARGEST_TENSOR:
            extreme = "small" if min(shape) < 1 else "large"
            sides = " and ".join(str(list(each.shape)) for each in self.inputs if each)
            self.refuse(f"would make {list(shape)} of its input {sides}: the image is too {extreme} for this net")

    def parameter(self, index: int, role: str, shape: Shape) -> str:
        """The name of the constant for an input that is a parameter of this shape."""
        source = self.sources[index]
        if self.inputs[index] is not None:
            self.refuse(f"its {role} is computed by {shown(source.name)}, expected a parameter")
        array = self.graph.find_parameter(self.node, role, source.name, shape)
        return self._keep(source.name, array)

    def constant(self, suffix: str, value: Any, dtype: npt.DTypeLike = np.float32) -> str:
        """The name of a constant of this node."""
        return self._keep(f"{self.node.name}_{suffix}", np.array(value, dtype))

    def emit(self, op: str, inputs: Sequence[str], shape: Shape, suffix: str = "", **attributes: Any) -> Tensor:
        """Write an ONNX node. The last one of a layer has no suffix and makes the layer's output, `<node>_output`."""
        self.expect_size(shape)
        name = f"{self.node.name}_{suffix or 'output'}"
        self._claim(name)
        label = f"{self.node.name}_{suffix}" if suffix else self.node.name
        self.graph.nodes.append(helper.make_node(op, list(inputs), [name], label, **attributes))
        return Tensor(name, shape)

    def refuse(self, problem: str) -> NoReturn:
        """Raise CheckpointError about this node."""
        raise CheckpointError(f"{self.node.place}: {problem}")

    def _keep(self, name: str, array: npt.NDArray[Any]) -> str:
        if name not in self.graph.constants:  # A parameter may serve several layers.
            self._claim(name)
            self.graph.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def _claim(self, name: str) -> None:
        if name in self.graph.taken:
            self.refuse(f"makes a second tensor of the name {shown(name)}")
        self.graph.taken.add(name)


ImportLayer = Callable[[Layer], Tensor]
Operators = Mapping[str, ImportLayer]
