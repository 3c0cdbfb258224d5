"""A compiled model, opened: numpy in, numpy out."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from facedeploy.artifact.store import Artifact, open_artifact
from facedeploy.core.errors import ArtifactError, ShapeError
from facedeploy.core.nms_params import NmsParams
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.detect.slots import Slots
from facedeploy.runtime.device import check_device, check_machine
from facedeploy.runtime.threads import threads_of_call, use_threads
from facedeploy.runtime.trace import Trace

FloatArray = npt.NDArray[np.float32]


class Model:
    """One instance of an artifact's code with its own buffers; `threads` is how many threads one call uses.

    Calls from several threads wait for one another: for calls side by side, open an instance for each thread.
    """

    def __init__(self, artifact: Artifact, library: Any, params: Sequence[Any], threads: int) -> None:
        self.artifact = artifact
        self.manifest = artifact.manifest
        self.threads = threads
        self._library = library
        self._params = params
        self._machine = relax.VirtualMachine(library, tvm.cpu())
        self._buffers: dict[TensorSpec, tuple[Any, npt.NDArray[Any]]] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, prefix: str | Path, *, device: int = 0, threads: int | None = None) -> "Model":
        """Open one instance of `.../mod`; see `open_instances`."""
        return cls.open_instances(prefix, 1, device=device, threads=threads)[0]

    @classmethod
    def open_instances(
        cls, prefix: str | Path, count: int, *, device: int = 0, threads: int | None = None
    ) -> list["Model"]:
        """Open `count` instances that share code and weights.

        `threads` for each call: by default the config's `backend.compile.threads`, else the CPUs shared out among the
        instances. Raises ArtifactError (missing, damaged, foreign) and DeviceError (another machine's; no such device;
        more threads than there are).
        """
        check_device(device)
        artifact = open_artifact(prefix)
        check_machine(artifact)
        threads = threads_of_call(threads, artifact.manifest.target.threads, count)
        try:
            library = tvm.runtime.load_module(str(artifact.code.resolve()))
            loaded = tvm.runtime.load_param_dict(artifact.params.read_bytes())
            params = [loaded[str(index)] for index in range(len(loaded))]
            return [cls(artifact, library, params, threads) for _ in range(count)]
        except (RuntimeError, OSError, ValueError, KeyError, AttributeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ArtifactError(
                f"{artifact.code} cannot be loaded ({reason}); it was compiled with tvm "
                f"{artifact.manifest.versions.tvm}, here is {tvm.__version__}: compile the model again"
            ) from error

    @property
    def canvas_hw(self) -> tuple[int, int]:
        """Height and width, px, of the one canvas that this artifact takes."""
        return self.manifest.canvas_hw

    @property
    def batch(self) -> int:
        """Images that one call takes."""
        return self.manifest.batch

    def infer(self, tensor: FloatArray) -> dict[str, FloatArray]:
        """Normalized input (N, 3, H, W) float32 -> outputs by name. Raises ShapeError for another shape or dtype."""
        return self._call("main", tensor, self.manifest.inputs[0])

    def infer_pixels(self, canvases: npt.NDArray[np.uint8]) -> dict[str, FloatArray]:
        """u8 canvases (N, H, W, 3), in the color order of `manifest.normalization`, -> outputs by name.

        Equal to `infer` of the normalized canvases, to the bit. Raises ShapeError; ArtifactError when the build config
        gave no normalization.
        """
        if self.manifest.normalization is None:
            raise ArtifactError(
                f"{self.artifact.prefix} was compiled without dataset.process_ops: it takes normalized float input only"
            )
        return self._call("pixels", canvases, TensorSpec("pixels", (self.batch, *self.canvas_hw, 3), "uint8"))

    def trace(self, tensor: FloatArray) -> Trace:
        """The kernels that `infer` of this input calls, to be timed one by one, while no other thread uses this model.

        Raises what `infer` raises.
        """
        spec = self.manifest.inputs[0]
        return Trace(self._machine, lambda: self.infer(tensor), lambda: self._input(spec, tensor), self.threads)

    def detect(self, outputs: Mapping[str, FloatArray], params: NmsParams | None = None) -> Slots:
        """Outputs of `infer` -> slots in canvas px, by the compiled post-processing.

        `params` defaults to the manifest's. Raises ArtifactError when the artifact was compiled without one; ShapeError
        when the outputs are not this artifact's.
        """
        post = self.manifest.postprocess
        if post is None:
            raise ArtifactError(f"{self.artifact.prefix} was compiled without graph.extra_ops, so it decodes no boxes")
        params = params or post.nms
        if not outputs.keys() >= set(post.inputs):
            raise ShapeError(
                f"got outputs {', '.join(outputs) or 'none'}; {self.artifact.prefix} decodes {', '.join(post.inputs)}"
            )
        specs = {spec.name: spec for spec in self.manifest.outputs}
        kernel = self._library.get_function(post.type, True)
        slots = [tvm.runtime.empty((self.batch, params.max_detections, width), "float32") for width in (1, 4, 10)]
        with self._lock:
            inputs = [self._input(specs[name], outputs[name]) for name in post.inputs]
            kernel(*inputs, float(params.confidence_threshold), float(params.nms_threshold), *slots)
        return Slots(*map(_as_float32, slots))

    def _call(self, entry: str, array: npt.NDArray[Any], spec: TensorSpec) -> dict[str, FloatArray]:
        with self._lock:
            tensor = self._input(spec, array)
            use_threads(self.threads)
            results = self._machine[entry](tensor, *self._params)
        names = [output.name for output in self.manifest.outputs]
        tensors = [results] if len(names) == 1 and isinstance(results, tvm.runtime.Tensor) else list(results)
        return dict(zip(names, map(_as_float32, tensors), strict=True))

    def _input(self, spec: TensorSpec, array: npt.NDArray[Any]) -> Any:
        """The array's numbers in a buffer of ours, since compiled code needs 64-byte alignment, which numpy has not."""
        if array.shape != spec.shape or array.dtype != spec.dtype:
            raise ShapeError(
                f"{spec.name}: got {array.dtype}{list(array.shape)}; {self.artifact.prefix} holds one size: "
                f"{spec.dtype}{list(spec.shape)} (compile it again for another canvas or batch)"
            )
        if spec not in self._buffers:
            buffer = tvm.runtime.empty(spec.shape, spec.dtype)
            self._buffers[spec] = buffer, np.from_dlpack(buffer)
        buffer, view = self._buffers[spec]
        np.copyto(view, array)
        return buffer


def _as_float32(tensor: Any) -> FloatArray:
    """A view of the tensor's memory, which lives as long as the view."""
    return cast("FloatArray", np.from_dlpack(tensor))
