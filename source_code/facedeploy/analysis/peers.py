"""The runtimes that an artifact can be compared with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedeploy.analysis.onnxruntime_peer import OnnxruntimePeer
from facedeploy.analysis.openvino_peer import OpenvinoPeer
from facedeploy.analysis.peer import OpenPeer, Peer
from facedeploy.artifact.store import Artifact, file_sha256
from facedeploy.compiler.frontend.onnx_file import read_onnx
from facedeploy.core.errors import ConfigError, FacedeployError

PEERS: dict[str, OpenPeer] = {"onnxruntime": OnnxruntimePeer, "openvino": OpenvinoPeer}


def open_peers(
    names: Sequence[str], onnx: Path | None, artifact: Artifact, tensor: npt.NDArray[np.float32], threads: int
) -> dict[str, Peer]:
    """The peers of these names, warm, with the ONNX file that `artifact` was compiled from and its input `tensor`.

    Raises ConfigError: no such peer; no file, or not the one; the peer cannot run it. DependencyError: not installed.
    """
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise ConfigError(f"--versus: got {unknown[0]!r}, expected {', '.join(PEERS)}, or both with a comma")
    if not names and onnx is None:
        return {}
    if not names:
        raise ConfigError(f"--onnx is for --versus: add --versus {','.join(PEERS)}, or leave --onnx out")
    if onnx is None:
        raise ConfigError("--versus needs --onnx MODEL.onnx, the file that the artifact was compiled from")
    _check_source(onnx, artifact)
    model = read_onnx(onnx)
    peers = {}
    for name in names:
        try:
            peers[name] = PEERS[name](onnx, model, tensor, threads)
        except FacedeployError:
            raise
        except Exception as error:
            # Each peer raises types of its own.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(f"--versus: {name} cannot run {onnx}: {reason}") from error
    return peers


def _check_source(onnx: Path, artifact: Artifact) -> None:
    source = artifact.manifest.source
    if source.type != "onnx":
        raise ConfigError(
            f"--versus: {artifact.prefix} was compiled from {source.type} ({source.file}), and peers run ONNX: "
            "compile the model's ONNX file (frontend.type: onnx) to compare"
        )
    if not onnx.is_file():
        raise ConfigError(f"--onnx: there is no file {onnx}")
    if (got := file_sha256(onnx)) != source.sha256:
        raise ConfigError(
            f"--onnx: {onnx} (sha256 {got[:12]}...) is not the file that {artifact.prefix} was compiled from, "
            f"{source.file} (sha256 {source.sha256[:12]}...): give that one, or compile this one"
        )
