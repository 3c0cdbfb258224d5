"""Weights out of an ONNX graph whose batch norms are folded into its convolutions."""

from collections import defaultdict, deque
from itertools import zip_longest

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from facedeploy.core.errors import CheckpointError
from facedeploy.models.nets import new_net
from facedeploy.models.specs import ModelSpec

FoldedConv = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


def unfold(spec: ModelSpec, graph_bytes: bytes, origin: str) -> dict[str, Tensor]:
    """A state dict of `spec` that computes what the graph computes.

    The graph's convolutions and the net's are paired by shape, in the order in which they run; names are not looked
    at. A folded bias goes into a batch norm that is otherwise the identity. Whether the pairing is right shows when
    outputs are compared. Raises CheckpointError, which begins with `origin`, when the slopes or the convolutions of
    the graph are not those of `spec`.
    """
    graph = onnx.load_from_string(graph_bytes).graph
    _check_slopes(spec, graph, origin)
    waiting: dict[tuple[int, ...], deque[FoldedConv]] = defaultdict(deque)
    for folded in _folded_convolutions(graph):
        waiting[folded[0].shape].append(folded)
    net = new_net(spec).eval().requires_grad_(False)
    for convolution, norm in _convolutions_as_run(net):
        shape = tuple(convolution.weight.shape)
        if not waiting[shape]:
            raise CheckpointError(f"{origin}: has fewer convolutions of shape {list(shape)} than {spec.name}")
        weight, bias = (torch.from_numpy(array.copy()) for array in waiting[shape].popleft())
        convolution.weight.copy_(weight)
        if norm is None:
            convolution.bias = nn.Parameter(bias, requires_grad=False)
        else:
            _make_identity_plus(norm, bias)
    left = sum(map(len, waiting.values()))
    if left:
        raise CheckpointError(f"{origin}: has {left} convolutions that {spec.name} has no place for")
    return net.state_dict()


def _check_slopes(spec: ModelSpec, graph: onnx.GraphProto, origin: str) -> None:
    nodes = [node for node in graph.node if node.op_type == "LeakyRelu"]
    slopes = {round(attribute.f, 6) for node in nodes for attribute in node.attribute}
    if slopes != {spec.negative_slope} - {0.0}:
        raise CheckpointError(f"{origin}: has LeakyReLU slopes {sorted(slopes)}, expected {spec.activation}")


def _folded_convolutions(graph: onnx.GraphProto) -> list[FoldedConv]:
    """(weight, bias) of each distinct convolution, in graph order; one that is repeated counts once."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    alias = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
    inputs = [node.input for node in graph.node if node.op_type == "Conv" and len(node.input) == 3]
    names = dict.fromkeys((alias.get(weight, weight), alias.get(bias, bias)) for _, weight, bias in inputs)
    return [(arrays[weight], arrays[bias]) for weight, bias in names]


def _convolutions_as_run(net: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    """The net's convolutions in the order of its forward pass, each with the batch norm that follows it, if any."""
    run: list[nn.Module] = []
    layers = [module for module in net.modules() if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))]
    hooks = [layer.register_forward_hook(lambda module, _inputs, _output: run.append(module)) for layer in layers]
    with torch.inference_mode():
        net(torch.zeros(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    return [
        (layer, follower if isinstance(follower, nn.BatchNorm2d) else None)
        for layer, follower in zip_longest(run, run[1:])
        if isinstance(layer, nn.Conv2d)
    ]


def _make_identity_plus(norm: nn.BatchNorm2d, bias: Tensor) -> None:
    """Make it add `bias` and nothing else, to the last bit: the variance is such that sqrt(variance + eps) is 1."""
    nn.init.ones_(norm.weight)
    norm.bias.copy_(bias)
    norm.running_mean = torch.zeros_like(bias)
    norm.running_var = torch.full_like(bias, 1.0 - norm.eps)
