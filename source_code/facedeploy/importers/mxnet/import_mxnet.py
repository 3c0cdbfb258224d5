"""The two files of an MXNet checkpoint, or the first with random parameters -> ONNX."""

import hashlib
from pathlib import Path

import onnx
from onnx import helper

from facedeploy.importers.mxnet.graph import Shape
from facedeploy.importers.mxnet.params import read_params
from facedeploy.importers.mxnet.random_params import random_params
from facedeploy.importers.mxnet.symbol import read_symbol
from facedeploy.importers.mxnet.to_onnx import find_stored, to_onnx


def import_mxnet(symbol: Path, params: Path, shape_nchw: tuple[int, int, int, int]) -> onnx.ModelProto:
    """The net of `X-symbol.json` with the weights of `X-0000.params`, for an input `data` of `shape_nchw`.

    Outputs are the symbol's, in order and by MXNet's names; the metadata names the parameters' file and its SHA-256.
    Raises CheckpointError, or ConfigError for a symbol that is no JSON, about whichever file cannot be used, and how.
    """
    model = to_onnx(read_symbol(symbol), find_stored(read_params(params), str(params)), shape_nchw)
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
