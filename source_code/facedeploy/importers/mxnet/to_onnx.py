"""A symbol and its parameters -> ONNX."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from facedeploy.core.errors import CheckpointError
from facedeploy.core.shown import shown
from facedeploy.core.version import __version__
from facedeploy.importers.mxnet import arithmetic, arrangement, convolution, spatial
from facedeploy.importers.mxnet.attributes import Attributes
from facedeploy.importers.mxnet.graph import FindParameter, Graph, Layer, Operators, Shape, Tensor, Weights
from facedeploy.importers.mxnet.params import Array
from facedeploy.importers.mxnet.symbol import VARIABLE, Node, Symbol

OPERATORS: Operators = {
    **convolution.OPERATORS,
    **spatial.OPERATORS,
    **arithmetic.OPERATORS,
    **arrangement.OPERATORS,
}
INPUT = "data"
OPSET = 17
IR_VERSION = 8  # Of that opset.


def to_onnx(symbol: Symbol, find_parameter: FindParameter, shape_nchw: Shape) -> onnx.ModelProto:
    """The net for an input `data` of `shape_nchw`; its outputs are the heads, in order, named `<node>_output`.

    Raises CheckpointError: an operator, or an attribute's value, that is not covered; layers that do not fit together
    at that shape; what `find_parameter` raises.
    """
    needed = _needed(symbol)
    graph = Graph(find_parameter)
    graph.taken.add(INPUT)
    made: dict[int, Tensor] = {}
    for index in needed:
        node = symbol.nodes[index]
        if node.op != VARIABLE:
            made[index] = OPERATORS[node.op](_layer(graph, symbol, made, node))
        elif node.name == INPUT:
            made[index] = Tensor(INPUT, shape_nchw)
    if not any(tensor.name == INPUT for tensor in made.values()):
        raise CheckpointError(f"{symbol.file}: its outputs do not depend on an input of the name {INPUT}")
    outputs = [_output(graph, symbol, made, index) for index, _ in symbol.heads]
    body = helper.make_graph(
        graph.nodes,
        shown(symbol.file.stem),
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape_nchw)],
        [helper.make_tensor_value_info(each.name, TensorProto.FLOAT, each.shape) for each in outputs],
        list(graph.constants.values()),
    )
    return helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="facedeploy",
        producer_version=__version__,
    )


def find_stored(params: Mapping[str, Array], file: str) -> FindParameter:
    """Parameters as they are stored; `file` is for errors.

    What it returns raises CheckpointError for one that is missing, has another shape, or is not of finite floats.
    """

    def find(node: Node, role: str, name: str, shape: Shape) -> Weights:
        user = f"which {shown(node.name)} ({node.op}) takes as its {role}"
        if name not in params:
            raise CheckpointError(f"{file}: the parameter {shown(name)} is missing, {user}")
        array = params[name]
        if array.shape != shape:
            raise CheckpointError(
                f"{file}: the parameter {shown(name)}, {user}, has the shape {list(array.shape)}, not {list(shape)}"
            )
        if array.dtype.kind != "f":
            raise CheckpointError(f"{file}: the parameter {shown(name)}, {user}, is {array.dtype}, expected floats")
        with np.errstate(over="ignore", invalid="ignore"):
            weights = array.astype(np.float32)
        if not np.isfinite(weights).all():
            raise CheckpointError(f"{file}: the parameter {shown(name)}, {user}, has numbers that are not finite")
        return weights

    return find


def _needed(symbol: Symbol) -> list[int]:
    """The nodes that the outputs depend on, in order. A label is no part of that."""
    wanted = {index for index, _ in symbol.heads}
    for index in range(len(symbol.nodes) - 1, -1, -1):
        node = symbol.nodes[index]
        if index not in wanted:
            continue
        if node.op != VARIABLE and node.op not in OPERATORS:
            raise CheckpointError(f"{node.place}: the operator {shown(node.op)} is not covered")
        wanted.update(source for source, _ in _read_inputs(node))
    return sorted(wanted)


def _read_inputs(node: Node) -> tuple[tuple[int, int], ...]:
    return node.inputs[:1] if node.op in arithmetic.LABELED else node.inputs


def _layer(graph: Graph, symbol: Symbol, made: Mapping[int, Tensor], node: Node) -> Layer:
    references = _read_inputs(node)
    sources = [symbol.nodes[index] for index, _ in references]
    for source, (_, output) in zip(sources, references, strict=True):
        _check_first(source, output)
    attributes = Attributes(node.attributes, node.place)
    return Layer(graph, node, attributes, [made.get(index) for index, _ in references], sources)


def _output(graph: Graph, symbol: Symbol, made: Mapping[int, Tensor], index: int) -> Tensor:
    node = symbol.nodes[index]
    for head, output in symbol.heads:
        _check_first(symbol.nodes[head], output)
    if [head for head, _ in symbol.heads].count(index) > 1:
        raise CheckpointError(f"{node.place}: is an output of the symbol twice")
    if node.op == VARIABLE:
        raise CheckpointError(f"{node.place}: is an output of the symbol, expected a layer")
    tensor = made[index]
    if tensor.name == f"{node.name}_output":
        return tensor
    # A layer that does nothing still gives its name to an output.
    layer = Layer(graph, node, Attributes({}, node.place), [tensor], [node])
    return layer.emit("Identity", [tensor.name], tensor.shape)


def _check_first(node: Node, output: int) -> None:
    if output != 0:
        raise CheckpointError(f"{node.place}: its output {output} is used, only the first one is covered")
