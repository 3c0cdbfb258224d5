"""The two files of an MXNet checkpoint, or the first with random parameters -> ONNX."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import onnx
from onnx import helper

from facedeploy.core.errors import CheckpointError
from facedeploy.core.shown import listed, shown
from facedeploy.importers.mxnet.graph import Shape
from facedeploy.importers.mxnet.params import read_params
from facedeploy.importers.mxnet.random_params import random_params
from facedeploy.importers.mxnet.symbol import VARIABLE, Symbol, read_symbol
from facedeploy.importers.mxnet.to_onnx import find_stored, to_onnx


def import_mxnet(symbol: Path, params: Path, shape_nchw: tuple[int, int, int, int]) -> onnx.ModelProto:
    """The net of `X-symbol.json` with the weights of `X-0000.params`, for an input `data` of `shape_nchw`.

    Outputs are the symbol's, in order and by MXNet's names; the metadata names the parameters' file and its SHA-256.
    Raises CheckpointError, or ConfigError for a symbol that is no JSON, about whichever file cannot be used, and how;
    as MXNet does, for a parameter that no node of the symbol has, since the files are of different nets then.
    """
    net, stored = read_symbol(symbol), read_params(params)
    _refuse_others(stored, net, params)
    model = to_onnx(net, find_stored(stored, str(params)), shape_nchw)
    digest = hashlib.sha256(params.read_bytes()).hexdigest()
    helper.set_model_props(model, {"params": params.name, "params_sha256": digest})
    return model


def import_random(symbol: Path, seed: int, shape_nchw: Shape) -> onnx.ModelProto:
    """The net of `X-symbol.json` with the parameters of `random_params`, and metadata that say so.

    Otherwise as `import_mxnet`, and raises what that raises about the symbol.
    """
    net, source = read_symbol(symbol), f"random, seed {seed}"
    model = to_onnx(net, find_stored(random_params(net, shape_nchw, seed), source), shape_nchw)
    helper.set_model_props(model, {"params": source})
    return model


def _refuse_others(stored: Iterable[str], net: Symbol, params: Path) -> None:
    variables = {node.name for node in net.nodes if node.op == VARIABLE}
    others = [shown(name) for name in stored if name not in variables]
    if others:
        raise CheckpointError(
            f"{params}: has {len(others)} parameters that {net.file} has no node for ({listed(others, limit=3)}): take "
            "the two files of one net, or save the parameters without these"
        )
