"""A compiled model, opened: numpy in, numpy out."""

import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
import tvm_ffi

from facedeploy.artifact.manifest import lay_out
from facedeploy.artifact.store import Artifact, open_artifact
from facedeploy.core.errors import ArtifactError, ShapeError
from facedeploy.core.nms_params import NmsParams
from facedeploy.core.tensor_spec import TensorSpec, bytes_of
from facedeploy.detect.slots import Slots
from facedeploy.runtime.device import check_device, check_machine
from facedeploy.runtime.input_array import InputArray
from facedeploy.runtime.memory import Bytes, aligned, huge
from facedeploy.runtime.parameters import read_parameters
from facedeploy.runtime.results import Results
from facedeploy.runtime.threads import threads_of_call, use_threads
from facedeploy.runtime.trace import Trace

FLOAT_BYTES = 4
REFUSALS = ValueError, TypeError, BufferError, RuntimeError  # Of an array that an entry cannot read: numpy's and tvm's.
FloatArray = npt.NDArray[np.float32]


class Model:
    """One instance of an artifact's code with its own buffers; `threads` is how many threads one call uses.

    Calls from several threads wait for one another: for calls side by side, open an instance for each thread.
    """

    def __init__(self, artifact: Artifact, library: Any, parameters: Bytes, threads: int) -> None:
        self.artifact = artifact
        self.manifest = artifact.manifest
        self.threads = threads
        self._library = library
        self._main = self._entry("main", self.manifest.inputs[0], self.manifest.input_alignment)
        canvases = TensorSpec("pixels", (self.batch, *self.canvas_hw, 3), "uint8")
        self._pixels = self._entry("pixels", canvases, 1) if self.manifest.normalization else None
        self._parameters = parameters
        self._workspace = huge(self.manifest.workspace_bytes)
        self._regions = tuple(tvm_ffi.from_dlpack(region) for region in (self._parameters, self._workspace))
        self._results: list[Results] = []
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
            library = _load(artifact.code)
            parameters = read_parameters(artifact)
            return [cls(artifact, library, parameters, threads) for _ in range(count)]
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
        return self._call(self._main, tensor)

    def infer_pixels(self, canvases: npt.NDArray[np.uint8]) -> dict[str, FloatArray]:
        """u8 canvases (N, H, W, 3), in the color order of `manifest.normalization`, -> outputs by name.

        Equal to `infer` of the normalized canvases, to the bit. Raises ShapeError; ArtifactError when the build config
        gave no normalization.
        """
        if self._pixels is None:
            raise ArtifactError(
                f"{self.artifact.prefix} was compiled without dataset.process_ops: it takes normalized float input only"
            )
        return self._call(self._pixels, canvases)

    def trace(self, tensor: FloatArray) -> Trace:
        """The kernels that `infer` of this input calls, to be timed one by one, while no other thread uses this model.

        Raises ShapeError as `infer` does.
        """
        image = tvm_ffi.from_dlpack(self._main.input.readable(tensor))
        results = self._free_results()
        regions = {"parameters": self._parameters, "workspace": self._workspace, "outputs": results.memory}
        tensors = [
            [
                image
                if at.region == "input"
                else tvm_ffi.from_dlpack(np.ndarray(at.shape, at.dtype, regions[at.region], at.offset))
                for at in call.arguments
            ]
            for call in self.manifest.calls
        ]
        arguments = image, *self._regions, results.tensor
        return Trace(self._library, self.manifest.calls, tensors, lambda: self._main.function(*arguments), self.threads)

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
        heads = {spec.name: InputArray(spec, FLOAT_BYTES, self.artifact.prefix) for spec in self.manifest.outputs}
        kernel = self._library.get_function(post.type, True)
        shapes = [(self.batch, params.max_detections, width) for width in (1, 4, 10)]
        offsets, size = lay_out(bytes_of(shape, "float32") for shape in shapes)
        memory = aligned(size)
        slots = [np.ndarray(shape, np.float32, memory, offset) for shape, offset in zip(shapes, offsets, strict=True)]
        inputs = [heads[name].readable(outputs[name]) for name in post.inputs]
        with self._lock:
            kernel(*inputs, params.confidence_threshold, params.nms_threshold, *map(tvm_ffi.from_dlpack, slots))
        return Slots(*slots)

    def _entry(self, name: str, spec: TensorSpec, alignment: int) -> "_Entry":
        return _Entry(self._library.get_function(name, True), InputArray(spec, alignment, self.artifact.prefix))

    def _call(self, entry: "_Entry", array: npt.NDArray[Any]) -> dict[str, FloatArray]:
        # Little and plain Python, since every line of it has left the caches while the kernels ran.
        with self._lock:
            results = self._free_results()
            use_threads(self.threads)
            # What may lie anywhere, nobody has to look at before.
            tensor = array if entry.input.anywhere else entry.input.readable(array)
            try:
                entry.function(tensor, *self._regions, results.tensor)
            except REFUSALS:
                # The entry checks what it is given, before anything else. It cannot say it in our words, or copy.
                entry.function(entry.input.readable(array), *self._regions, results.tensor)
            return results.arrays.copy()

    def _free_results(self) -> Results:
        for results in self._results:
            if not results.in_use():
                return results
        self._results.append(Results(self.manifest.outputs))
        return self._results[-1]


@dataclass(frozen=True, slots=True)
class _Entry:
    function: Any
    input: InputArray


_LOADED: dict[Path, tuple[int, int]] = {}  # Device and inode of the library that was first loaded from a path.


def _load(code: Path) -> Any:
    """The library in a file. What was loaded from its path before stays what the loader has there, so a copy then."""
    path = code.resolve()
    status = path.stat()
    identity = status.st_dev, status.st_ino
    if _LOADED.setdefault(path, identity) == identity:
        return tvm.runtime.load_module(str(path))
    with TemporaryDirectory() as folder:
        return tvm.runtime.load_module(shutil.copy(path, folder))
