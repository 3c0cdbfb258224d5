"""An ONNX graph while it is made, layer by layer: nodes, constants, the shape of each tensor."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.core.errors import CheckpointError
from facedeploy.core.shown import shown
from facedeploy.importers.caffe.caffemodel import Blob
from facedeploy.importers.caffe.network import Layer, Network

LARGEST = 1 << 31  # Numbers in a blob.

Shape = tuple[int, ...]
Array = npt.NDArray[Any]


@dataclass(eq=False)
class Graph:
    """`blobs` are the parameters of each layer, read from `parameters`; `readers` of a tensor, an output's one more."""

    blobs: dict[str, tuple[Blob, ...]]
    parameters: Path
    shapes: dict[str, Shape]
    readers: Counter[str]
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, network: Network, blobs: dict[str, tuple[Blob, ...]], parameters: Path, shape: Shape) -> "Graph":
        """One without nodes, whose input has the shape."""
        readers = Counter(bottom for layer in network.layers for bottom in layer.bottoms)
        return cls(blobs, parameters, {network.input: shape}, readers + Counter(network.outputs))

    def parameters_of(self, layer: Layer, *shapes: Shape) -> list[npt.NDArray[np.float32]]:
        """The blobs of a layer, which must have these shapes."""
        found = self.blobs.get(layer.name, ())
        called = f"the layer {shown(layer.name)} ({layer.type})"
        if len(found) != len(shapes):
            got = f"has {len(found)}" if found else "has none"
            raise CheckpointError(
                f"{self.parameters}: {called} needs {len(shapes)} blobs of parameters, the file {got}"
            )
        arrays = list[npt.NDArray[np.float32]]()
        for index, (blob, shape) in enumerate(zip(found, shapes, strict=True)):
            array = blob.shaped(shape)
            if array is None:
                raise CheckpointError(
                    f"{self.parameters}: {called}: blob {index} has the shape {list(blob.array.shape)}, "
                    f"the net needs {list(shape)}"
                )
            arrays.append(array)
        return arrays

    def free(self, name: str) -> str:
        """The name, or one like it if it is taken."""
        while name in self.constants or name in self.readers or name in self.shapes:
            name += "_"
        return name

    def constant(self, name: str, array: Array) -> str:
        """Add a constant; its name, which is another if that one is taken."""
        name = self.free(name)
        self.constants[name] = array
        return name

    def add(
        self, operator: str, layer: Layer, inputs: Sequence[str], shape: Shape, output: str = "", **attributes: Any
    ) -> Any:
        """Add a node that makes the layer's first top, or another output, of that shape."""
        from onnx import helper

        made = output or layer.tops[0]
        if prod(shape) > LARGEST:
            raise layer.settings.error(f"makes a blob of {list(shape)}, which is too large")
        self.shapes[made] = shape
        self.nodes.append(helper.make_node(operator, inputs, [made], output or layer.name, **attributes))
        return self.nodes[-1]
