"""What is multiplied with or added to each channel in front of a convolution becomes part of its weights and bias."""

from facedeploy.compiler.graph.nodes import Convolution, Elementwise, Graph, whole

FACTORS = ("relax.multiply", "relax.divide")
SUMMANDS = ("relax.add", "relax.subtract")


def fold_scaling(graph: Graph) -> None:
    """Ensures: no dense convolution alone reads floats times constants, or, without padding, floats plus constants.

    Its padding is of zeros, which a factor keeps and a summand does not.
    """
    for node in list(graph.nodes):
        if isinstance(node, Convolution) and not node.depthwise and node.weight_scales is None:
            while _fold(graph, node):
                pass


def _fold(graph: Graph, node: Convolution) -> bool:
    """Whether the node took over what makes its source."""
    value = node.sources[0].value
    producer = graph.producer(value)
    if not isinstance(producer, Elementwise) or producer.channels is None or graph.only_reader(value) is not node:
        return False
    if producer.name in FACTORS:
        if producer.name == "relax.divide" and not producer.channels.all():
            return False
        numbers = producer.channels[:, None, None]
        node.weights = node.weights * numbers if producer.name == "relax.multiply" else node.weights / numbers
    elif producer.name in SUMMANDS and not _pads(node):
        summands = producer.channels if producer.name == "relax.add" else -producer.channels
        node.bias = node.bias + (node.weights * summands[:, None, None]).sum((1, 2, 3))
    else:
        return False
    node.sources = [whole(producer.inputs[0])]
    graph.nodes.remove(producer)
    return True


def _pads(node: Convolution) -> bool:
    """Whether it reads beyond its source."""
    (_, _, *source_hw), (_, _, *output_hw) = node.sources[0].value.shape, node.output.shape
    return node.window.halo((source_hw[0], source_hw[1]), (output_hw[0], output_hw[1])) > 0
