"""Pooling between integers computes with them, without floats in between."""

from dataclasses import replace
from math import prod

import numpy as np

from facedeploy.compiler.graph.nodes import Convolution, Dequantize, Graph, Pooling, Quantize, whole
from facedeploy.compiler.kernels.blocked.pooling import AVERAGE_PADDED, MAX
from facedeploy.quantize.affine import same_affine

MOST_TAPS = 25  # Of a window: all of them stand in a depthwise kernel's code, which takes long to compile.


def pool_integers(graph: Graph) -> None:
    """Ensures: maxima of integers that keep their scale are of integers; averages of them are depthwise convolutions.

    Of averages, those over small windows that count padding as zeros: their weights are 1, times one over the number of
    pixels.
    """
    for node in list(graph.nodes):
        if not isinstance(node, Pooling):
            continue
        before, behind = graph.producer(node.inputs[0]), graph.only_reader(node.outputs[0])
        if isinstance(before, Dequantize) and isinstance(behind, Quantize):
            if node.kind == AVERAGE_PADDED and prod(node.window.kernel) <= MOST_TAPS:
                graph.nodes[graph.nodes.index(node)] = _convolution(node)
            elif node.kind == MAX and same_affine(before.source.affine, behind.output.affine):
                graph.nodes[graph.nodes.index(node)] = replace(
                    node,
                    outputs=behind.outputs,
                    operands=[before.source],
                    arguments=dict.fromkeys(node.arguments, before.source),
                )
                graph.nodes.remove(behind)
    graph.remove_dead()


def _convolution(node: Pooling) -> Convolution:
    source, (rows, columns) = node.inputs[0], node.window.kernel
    channels = source.shape[1]
    shares = np.full((channels, 1, rows, columns), 1 / (rows * columns), np.float32)
    return Convolution(
        node.outputs,
        [whole(source)],
        shares,
        np.zeros(channels, np.float32),
        node.window,
        depthwise=True,
        weight_scales=shares[:, 0, 0, 0],
    )
