"""An ONNX graph with its edges at hand."""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

ACTIVATIONS = frozenset({"LeakyRelu", "PRelu", "Relu"})


@dataclass(frozen=True, eq=False)
class Graph:
    """The nodes of an onnx.ModelProto in order, what makes and what reads each tensor, and the constants."""

    nodes: tuple[Any, ...]
    inputs: tuple[Any, ...]
    outputs: tuple[str, ...]
    constants: dict[str, Array]
    producers: dict[str, Any]
    readers: dict[str, tuple[Any, ...]]

    @classmethod
    def of(cls, model: Any) -> "Graph":
        """The graph of `model`; its nodes stay those of the model. Requires: nodes stand in the order they run."""
        from onnx import numpy_helper

        graph = model.graph
        nodes = tuple(graph.node)  # One object a node, so that `is` tells nodes apart.
        constants = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
        readers: dict[str, tuple[Any, ...]] = {}
        for node in nodes:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            for name in dict.fromkeys(node.input):
                readers[name] = (*readers.get(name, ()), node)
        return cls(
            nodes=nodes,
            inputs=tuple(entry for entry in graph.input if entry.name not in constants),
            outputs=tuple(entry.name for entry in graph.output),
            constants=constants,
            producers={name: node for node in nodes for name in node.output},
            readers=readers,
        )

    def activations(self, node: Any) -> list[str]:
        """The tensors that a node reads, without constants and inputs left out."""
        return [name for name in node.input if name and name not in self.constants]

    def only_reader(self, tensor: str) -> Any | None:
        """The node that reads a tensor, if there is one only and the model does not return the tensor."""
        readers = self.readers.get(tensor, ())
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def is_convolution(self, node: Any) -> bool:
        """Whether a node is a convolution of constant weights (and bias): the kind that can become integer."""
        return node.op_type == "Conv" and all(name in self.constants for name in node.input[1:] if name)


def static_shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of the inputs of an onnx.ModelProto, and of what nodes make, as far as onnx infers all sides."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {}
    for entry in [*graph.input, *graph.value_info, *graph.output]:
        kind = entry.type.tensor_type
        if kind.HasField("shape") and all(side.HasField("dim_value") for side in kind.shape.dim):
            shapes[entry.name] = tuple(side.dim_value for side in kind.shape.dim)
    return shapes


def resize_mode(node: Any) -> bytes | None:
    """How a Resize computes from what it reads: nearest, linear or cubic; None for one that also makes up values."""
    attributes = attributes_of(node)
    if node.op_type != "Resize" or attributes.get("coordinate_transformation_mode") == b"tf_crop_and_resize":
        return None
    return bytes(attributes.get("mode", b"nearest"))


def attributes_of(node: Any) -> dict[str, Any]:
    """The attributes that a node has; those left at their defaults are missing."""
    from onnx import helper

    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
