"""The float ONNX in onnxruntime, with every tensor that a kernel of an artifact may have made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.compiler.frontend.gather_heads import gather_heads
from facedeploy.compiler.frontend.onnx_file import image_inputs, sides_of, suits
from facedeploy.core.errors import CompileError
from facedeploy.core.head_spec import HeadSpec
from facedeploy.core.requirement import require
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.quantize.graph import Graph, attributes_of
from facedeploy.quantize.insert_qdq import is_quantized
from facedeploy.quantize.layers import convolution_names

FloatArray = npt.NDArray[np.float32]

# What may be part of a convolution's kernel behind it, through a concatenation too. An addition joins it once at most.
ELEMENTWISE = frozenset({"BatchNormalization", "Clip", "Identity", "LeakyRelu", "PRelu", "Relu"})
ADDITIONS = frozenset({"Add", "Sum"})


@dataclass(frozen=True)
class Made:
    """Channels of a tensor: as many as a convolution makes, behind those of the tensors `before`."""

    tensor: str
    before: tuple[str, ...] = ()

    def of(self, tensors: Mapping[str, FloatArray], channels: int) -> FloatArray:
        """(N, channels, H, W) of what `FloatModel.run` returns."""
        first = sum(tensors[name].shape[1] for name in self.before)
        return tensors[self.tensor][:, first : first + channels]


class FloatModel:
    """`made`: for each convolution by name, its output and what element-wise operators make of it, in order.

    `channels`: how many each convolution has in its output.
    """

    def __init__(self, file: Path, image: TensorSpec, head: HeadSpec | None = None) -> None:
        """The outputs are gathered as an artifact with this `head` has them.

        Raises CompileError: no file, no ONNX, quantized, or of another input than `image`.
        """
        onnx = require("onnx", "compile", "Comparing with the float model")
        onnxruntime = require("onnxruntime", "compile", "Comparing with the float model")
        try:
            model = onnx.load(str(file))
        except Exception as error:  # onnx has no base of its own for what it raises.
            reason = str(error).strip().splitlines()[0]
            raise CompileError(f"--onnx: {file} cannot be read as ONNX ({reason})") from error
        if is_quantized(model):
            raise CompileError(f"--onnx: {file} is quantized, expected the float model that the artifact came from")
        self._input = _input_of(model, image, file)
        if head:
            model = gather_heads(model, image, head)
        graph = Graph.of(model)
        convolutions = [node for node in graph.nodes if node.op_type == "Conv"]
        names = convolution_names(model)
        self.made = {
            name: tuple(_made_of(graph, Made(node.output[0]))) for name, node in zip(names, convolutions, strict=True)
        }
        self.channels = {
            name: len(graph.constants[node.input[1]]) if node.input[1] in graph.constants else 0
            for name, node in zip(names, convolutions, strict=True)
        }
        self.outputs = graph.outputs
        needed = [name for made in self.made.values() for each in made for name in (each.tensor, *each.before)]
        self._fetched = list(dict.fromkeys([*graph.outputs, *needed]))
        del model.graph.output[:]
        model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in self._fetched)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # Errors: it has much to say of models otherwise.
        # What is fused into another has no tensor of its own.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # Of types that share no base.
            reason = str(error).strip().splitlines()[0]
            raise CompileError(f"--onnx: onnxruntime cannot run {file} ({reason})") from error

    def run(self, tensor: FloatArray) -> Mapping[str, FloatArray]:
        """The outputs and all tensors, by name, for a normalized input (N, 3, H, W)."""
        return dict(zip(self._fetched, self._session.run(self._fetched, {self._input: tensor}), strict=True))


def _input_of(model: Any, image: TensorSpec, file: Path) -> str:
    """The name of the one input, which may have the shape of `image`."""
    inputs = image_inputs(model)
    if len(inputs) == 1 and suits(sides_of(inputs[0]), image):
        return str(inputs[0].name)
    takes = " and ".join(str(sides_of(entry)) for entry in inputs) or "nothing"
    raise CompileError(
        f"--onnx: {file} takes {takes}, the artifact {list(image.shape)}: give the file it was compiled from, of the "
        "same size"
    )


def _made_of(graph: Graph, made: Made, added: bool = False) -> Iterator[Made]:
    yield made
    for node in graph.readers.get(made.tensor, ()):
        adds = node.op_type in ADDITIONS
        if node.op_type in ELEMENTWISE or (adds and not added):
            yield from _made_of(graph, Made(node.output[0], made.before), added or adds)
        elif node.op_type == "Concat" and attributes_of(node)["axis"] == 1:
            before = (*node.input[: list(node.input).index(made.tensor)], *made.before)
            yield from _made_of(graph, Made(node.output[0], before), added)
