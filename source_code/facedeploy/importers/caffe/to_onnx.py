"""A Caffe net -> ONNX."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facedeploy.core.errors import CheckpointError
from facedeploy.core.requirement import require
from facedeploy.core.shown import listed, shown
from facedeploy.importers.caffe import arrange, elementwise, windows
from facedeploy.importers.caffe.caffemodel import read_caffemodel
from facedeploy.importers.caffe.graph import Graph
from facedeploy.importers.caffe.network import Layer, Network, read_network

OPSET, IR_VERSION = 17, 8


@dataclass(frozen=True)
class LayerType:
    """What adds the nodes of a layer to a graph, and how many blobs it reads and makes: None for one or more."""

    convert: Callable[[Layer, Graph], None]
    bottoms: int | None = 1
    tops: int | None = 1


LAYER_TYPES: Mapping[str, LayerType] = {
    "BatchNorm": LayerType(elementwise.batch_norm),
    "Concat": LayerType(arrange.concat, bottoms=None),
    "Convolution": LayerType(windows.convolution),
    "Crop": LayerType(arrange.crop, bottoms=2),
    "Deconvolution": LayerType(windows.deconvolution),
    "Dropout": LayerType(elementwise.dropout),
    "Eltwise": LayerType(elementwise.eltwise, bottoms=None),
    "Flatten": LayerType(arrange.flatten),
    "PReLU": LayerType(elementwise.prelu),
    "Permute": LayerType(arrange.permute),
    "Pooling": LayerType(windows.pooling),
    "ReLU": LayerType(elementwise.relu),
    "Reshape": LayerType(arrange.reshape),
    "Scale": LayerType(elementwise.scale),
    "Slice": LayerType(arrange.slice_, tops=None),
    "Softmax": LayerType(elementwise.softmax),
    "Split": LayerType(arrange.split, tops=None),
}


def import_caffe(prototxt: Path, caffemodel: Path, shape_nchw: Sequence[int]) -> Any:
    """The net as an onnx.ModelProto (opset 17) for an input of that shape, whatever shape the file says.

    Tensors have the names of their blobs, of an earlier content of a blob with a number behind it; nodes those of their
    layers. Outputs are the blobs that no layer reads, in the order of the file. Raises CheckpointError: a file that
    cannot be read, a layer or parameter that is not supported, blobs that are missing, of other shapes, or of a layer
    that the prototxt has in no phase; DependencyError without onnx.
    """
    require("onnx", "compile", "Importing a Caffe net")
    from onnx import checker

    network = read_network(prototxt)
    shape = _input_shape(network, prototxt, shape_nchw)
    blobs = read_caffemodel(caffemodel)
    _refuse_others(blobs, network, prototxt, caffemodel)
    graph = Graph.of(network, blobs, caffemodel, shape)
    for layer in network.layers:
        _convert(layer, graph)
    model = _model(network, graph, shape, caffemodel)
    try:
        checker.check_model(model, full_check=True)
    except Exception as error:  # It has several types of its own.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{prototxt}: what becomes of it is not valid ONNX: {reason}") from error
    return model


def _refuse_others(blobs: Iterable[str], network: Network, prototxt: Path, caffemodel: Path) -> None:
    """Caffe would pass over them, and so over a file of another net."""
    others = [shown(name) for name in blobs if name not in network.names]
    if others:
        raise CheckpointError(
            f"{caffemodel}: has parameters of {len(others)} layers that are not in {prototxt} "
            f"({listed(others, limit=3)}): take the two files of one net, or add these layers with "
            "include { phase: TRAIN }"
        )


def _convert(layer: Layer, graph: Graph) -> None:
    known = LAYER_TYPES.get(layer.type)
    if known is None:
        raise layer.settings.error(
            f"this type of layer is not supported, expected one of Input, {', '.join(LAYER_TYPES)}", "type"
        )
    for key, names, count in (("bottom", layer.bottoms, known.bottoms), ("top", layer.tops, known.tops)):
        if not names or count not in (None, len(names)):
            raise layer.settings.error(f"got {len(names)} blobs, expected {count or 'one or more'}", key)
    known.convert(layer, graph)
    layer.settings.refuse_others()


def _input_shape(network: Network, prototxt: Path, shape_nchw: Sequence[int]) -> tuple[int, ...]:
    shape, declared = tuple(shape_nchw), network.input_shape
    if declared is not None and (len(declared) != len(shape) or declared[1] != shape[1]):
        raise CheckpointError(
            f"{prototxt}: the input {network.input} has the shape {list(declared)}, got {list(shape)}: "
            "batch, height and width may be others"
        )
    return shape


def _model(network: Network, graph: Graph, shape: tuple[int, ...], caffemodel: Path) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in graph.constants.items()]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            network.name or "caffe",
            [helper.make_tensor_value_info(network.input, TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, graph.shapes[name]) for name in network.outputs],
            constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, {"caffemodel_sha256": hashlib.sha256(caffemodel.read_bytes()).hexdigest()})
    return model
