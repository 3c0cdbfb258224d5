"""Layers that keep the shape: BatchNorm, Scale, activations, sums and products, Softmax, Dropout."""

from functools import reduce

import numpy as np
import numpy.typing as npt

from facedeploy.core.errors import CheckpointError
from facedeploy.core.shown import shown
from facedeploy.importers.caffe.arrange import axis_of
from facedeploy.importers.caffe.graph import Graph
from facedeploy.importers.caffe.network import Layer

EPSILON = 1e-5
OPERATIONS = {"SUM": "Add", "1": "Add", "PROD": "Mul", "0": "Mul", "MAX": "Max", "2": "Max"}


def batch_norm(layer: Layer, graph: Graph) -> None:
    """BatchNormalization by the stored sums of mean and variance, which a third blob is to be divided by."""
    settings = layer.settings.section("batch_norm_param")
    settings.skip("moving_average_fraction")
    epsilon = settings.number("eps", EPSILON)
    if not settings.flag("use_global_stats", True):
        raise settings.error(
            "got false: a net that normalizes by the batch at hand is not supported", "use_global_stats"
        )
    shape = graph.shapes[layer.bottoms[0]]
    channels = shape[1:2]
    mean, variance, weight = (
        array.astype(np.float64) for array in graph.parameters_of(layer, channels, channels, (1,))
    )
    factor = 1 / weight[0] if weight[0] else 0.0
    arrays = {
        "gamma": np.ones(channels, np.float32),
        "beta": np.zeros(channels, np.float32),
        "mean": _single(layer, graph, mean * factor),
        "variance": _single(layer, graph, variance * factor),
    }
    inputs = [graph.constant(f"{layer.name}.{role}", array) for role, array in arrays.items()]
    graph.add("BatchNormalization", layer, [layer.bottoms[0], *inputs], shape, epsilon=epsilon)


def scale(layer: Layer, graph: Graph) -> None:
    """Gamma and beta of the batch norm in front of it, where that is read here alone; else Mul and Add."""
    settings = layer.settings.section("scale_param")
    settings.skip("filler", "bias_filler")
    source = layer.bottoms[0]
    shape = graph.shapes[source]
    axis = axis_of(settings, len(shape), 1)
    count = settings.integer("num_axes", 1, least=-1)
    end = len(shape) if count < 0 else axis + count
    if end > len(shape):
        raise settings.error(f"got {count} axes from axis {axis} of a blob of {list(shape)}", "num_axes")
    scaled = shape[axis:end]
    biased = settings.flag("bias_term", False)
    gamma, *beta = graph.parameters_of(layer, *[scaled] * (2 if biased else 1))
    before = next((node for node in graph.nodes if source in node.output), None)
    if (
        before is not None
        and before.op_type == "BatchNormalization"
        and graph.readers[source] == 1
        and (axis, end) == (1, 2)
    ):
        for name, array in ((before.input[1], gamma), (before.input[2], gamma)):
            graph.constants[name] = _single(layer, graph, graph.constants[name].astype(np.float64) * array)
        if beta:
            shifted = graph.constants[before.input[2]].astype(np.float64) + beta[0]
            graph.constants[before.input[2]] = _single(layer, graph, shifted)
        before.output[0] = layer.tops[0]
        graph.shapes[layer.tops[0]] = shape
        return
    sides = (*scaled, *[1] * (len(shape) - end))
    name = graph.constant(f"{layer.name}.scale", gamma.reshape(sides))
    if not beta:
        graph.add("Mul", layer, [source, name], shape)
        return
    product = graph.free(f"{layer.tops[0]}.product")
    graph.add("Mul", layer, [source, name], shape, product)
    graph.add("Add", layer, [product, graph.constant(f"{layer.name}.bias", beta[0].reshape(sides))], shape)


def relu(layer: Layer, graph: Graph) -> None:
    """Relu, or LeakyRelu."""
    settings = layer.settings.section("relu_param")
    settings.skip("engine")
    slope = settings.number("negative_slope", 0.0)
    shape = graph.shapes[layer.bottoms[0]]
    if slope:
        graph.add("LeakyRelu", layer, layer.bottoms, shape, alpha=slope)
    else:
        graph.add("Relu", layer, layer.bottoms, shape)


def prelu(layer: Layer, graph: Graph) -> None:
    """PRelu, of one slope a channel or one for all."""
    settings = layer.settings.section("prelu_param")
    settings.skip("filler")
    shape = graph.shapes[layer.bottoms[0]]
    shared = settings.flag("channel_shared", False)
    blobs = graph.blobs.get(layer.name, ())
    # A shared slope is a number, or a list of one.
    slopes = blobs[0].array.shape[:1] if shared and blobs and blobs[0].array.size == 1 else shape[1:2]
    (slope,) = graph.parameters_of(layer, () if shared and not slopes else slopes)
    sides = (-1, *[1] * (len(shape) - 2))
    graph.add("PRelu", layer, [layer.bottoms[0], graph.constant(f"{layer.name}.slope", slope.reshape(sides))], shape)


def eltwise(layer: Layer, graph: Graph) -> None:
    """Add, Mul or Max of two or more blobs of one shape."""
    settings = layer.settings.section("eltwise_param")
    settings.skip("stable_prod_grad")
    operator = OPERATIONS[settings.choice("operation", "SUM", tuple(OPERATIONS))]
    if any(factor != 1 for factor in settings.numbers("coeff")):
        raise settings.error("a factor other than 1 is not supported", "coeff")
    shapes = [graph.shapes[bottom] for bottom in layer.bottoms]
    if len(shapes) < 2 or len(set(shapes)) != 1:
        raise layer.settings.error(
            f"got blobs of {list(map(list, shapes))}, expected two or more of one shape", "bottom"
        )

    def pair(first: str, second: tuple[int, str]) -> str:
        index, name = second
        last = index == len(layer.bottoms) - 1
        made = layer.tops[0] if last else graph.free(f"{layer.tops[0]}.of{index + 1}")
        graph.add(operator, layer, [first, name], shapes[0], "" if last else made)
        return made

    reduce(pair, list(enumerate(layer.bottoms))[1:], layer.bottoms[0])


def softmax(layer: Layer, graph: Graph) -> None:
    """Softmax along one axis."""
    settings = layer.settings.section("softmax_param")
    settings.skip("engine")
    shape = graph.shapes[layer.bottoms[0]]
    graph.add("Softmax", layer, layer.bottoms, shape, axis=axis_of(settings, len(shape), 1))


def dropout(layer: Layer, graph: Graph) -> None:
    """Nothing, at inference."""
    layer.settings.skip("dropout_param")
    graph.add("Identity", layer, layer.bottoms, graph.shapes[layer.bottoms[0]])


def _single(layer: Layer, graph: Graph, array: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """As float32. Raises CheckpointError where that holds one of the numbers no more."""
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float32)
    if not np.isfinite(rounded).all():
        raise CheckpointError(
            f"{graph.parameters}: the parameters of the layer {shown(layer.name)} ({layer.type}) make numbers that are "
            "not finite in float32"
        )
    return rounded
