"""Convolutions move to blocked kernels: the graph passes, in their order, between Relax and Relax."""

from collections.abc import Callable

import tvm

from facedeploy.compiler.graph.attributes import layers_of, with_kernels
from facedeploy.compiler.graph.from_relax import graph_of
from facedeploy.compiler.graph.nodes import Convolution, Graph
from facedeploy.compiler.graph.to_relax import relax_of
from facedeploy.compiler.kernels.blocked.candidates import Chooser, by_model
from facedeploy.compiler.passes.fold_negation import fold_negation
from facedeploy.compiler.passes.fold_scaling import fold_scaling
from facedeploy.compiler.passes.fuse_cascade import fuse_cascade
from facedeploy.compiler.passes.fuse_epilogue import fuse_epilogue
from facedeploy.compiler.passes.fuse_heads import fuse_heads
from facedeploy.compiler.passes.fuse_integer_cascade import fuse_integer_cascade
from facedeploy.compiler.passes.fuse_separable import fuse_separable
from facedeploy.compiler.passes.map_integers import map_integers
from facedeploy.compiler.passes.merge_parallel import merge_parallel
from facedeploy.compiler.passes.pool_integers import pool_integers
from facedeploy.compiler.passes.remove_concatenation import remove_concatenation
from facedeploy.compiler.passes.split_concatenation import split_concatenation
from facedeploy.compiler.passes.swap_pooling import swap_pooling
from facedeploy.compiler.passes.use_integers import use_integers
from facedeploy.compiler.target import Target

GRAPH_PASSES: tuple[Callable[[Graph], None], ...] = (
    fold_scaling,
    swap_pooling,
    split_concatenation,
    fuse_epilogue,
    fold_negation,
    fuse_epilogue,  # Again, for what a negation stood in the way of.
    remove_concatenation,
    fuse_heads,
    pool_integers,
    use_integers,
    map_integers,
    fuse_integer_cascade,
    merge_parallel,
    fuse_separable,
    fuse_cascade,
)


def block_convolutions(module: tvm.IRModule, target: Target, choose: Chooser = by_model) -> tvm.IRModule:
    """Requires: constants are folded, operators are not yet legalized. Ensures: `main` computes the same.

    The module's attributes name its convolutions before, and tell its kernels afterwards.
    A `main` that is no plain chain of static tensors stays as it is, and so does one without convolutions.
    """
    graph = graph_of(module["main"], layers_of(module))
    if graph is None or not any(isinstance(node, Convolution) for node in graph.nodes):
        return module
    for graph_pass in GRAPH_PASSES:
        graph_pass(graph)
    return with_kernels(*relax_of(graph, module, target, choose))
