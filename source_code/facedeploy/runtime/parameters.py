"""The parameters of an artifact, where kernels can read them."""

import numpy as np

from facedeploy.artifact.manifest import calls_of
from facedeploy.artifact.parameters import parameter_layout
from facedeploy.artifact.store import Artifact
from facedeploy.core.errors import ArtifactError
from facedeploy.runtime.memory import Bytes, huge, read_huge


def read_parameters(artifact: Artifact) -> Bytes:
    """All parameters, in huge pages; those stored in half precision become float32, once.

    Raises ArtifactError when the manifest does not suit the file, and OSError.
    """
    manifest, file = artifact.manifest, artifact.params
    try:
        layout = parameter_layout(calls_of(manifest.ladder), manifest.weights)
        if layout.file_bytes != file.stat().st_size:
            raise ValueError(f"{file.name} has {file.stat().st_size} bytes, its parameters are {layout.file_bytes}")
    except (ValueError, TypeError) as error:  # TypeError: numpy does not know a dtype.
        raise ArtifactError(
            f"{artifact.prefix}.json does not say how to read {file.name} ({error}): compile the model again"
        ) from error
    if manifest.weights.dtype == "float32":
        return read_huge(file)
    memory, stored = huge(layout.memory_bytes), np.fromfile(file, np.uint8)
    for parameter in layout.parameters:
        parameter.expand(stored, memory)
    return memory
