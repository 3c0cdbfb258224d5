"""An average of integers that becomes integers is a depthwise convolution, which computes it without floats between."""

import numpy as np

from facedeploy.compiler.graph.nodes import Convolution, Dequantize, Graph, Pooling, Quantize, whole
from facedeploy.compiler.kernels.blocked.pooling import AVERAGE_PADDED


def average_integers(graph: Graph) -> None:
    """Ensures: no pooling between integers takes averages that count padding as zeros.

    Those have weights of 1, times one over the number of pixels.
    """
    for node in list(graph.nodes):
        if not isinstance(node, Pooling) or node.kind != AVERAGE_PADDED:
            continue
        (source,), (output,) = node.inputs, node.outputs
        if isinstance(graph.producer(source), Dequantize) and isinstance(graph.only_reader(output), Quantize):
            channels, (rows, columns) = source.shape[1], node.window.kernel
            shares = np.full((channels, 1, rows, columns), 1 / (rows * columns), np.float32)
            graph.nodes[graph.nodes.index(node)] = Convolution(
                [output],
                [whole(source)],
                shares,
                np.zeros(channels, np.float32),
                node.window,
                depthwise=True,
                weight_scales=shares[:, 0, 0, 0],
            )
