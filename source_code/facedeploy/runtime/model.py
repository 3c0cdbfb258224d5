"""A compiled model, opened: numpy in, numpy out."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
import tvm_ffi

from facedeploy.artifact.manifest import LETTERBOX, lay_out
from facedeploy.artifact.store import Artifact, open_artifact
from facedeploy.config.vdsp_params import VdspParams
from facedeploy.core.errors import ArtifactError, ShapeError
from facedeploy.core.nms_params import NmsParams
from facedeploy.core.shown import shown
from facedeploy.core.tensor_spec import TensorSpec, bytes_of
from facedeploy.detect.slots import Slots
from facedeploy.runtime.canvas import CanvasMaker
from facedeploy.runtime.device import check_device, check_machine
from facedeploy.runtime.entry import REFUSALS, Buffers, Entry
from facedeploy.runtime.input_array import InputArray
from facedeploy.runtime.memory import Bytes, aligned
from facedeploy.runtime.parameters import read_parameters
from facedeploy.runtime.threads import threads_of_call
from facedeploy.runtime.trace import Trace

FLOAT_BYTES = 4
FloatArray = npt.NDArray[np.float32]


class Model:
    """One instance of an artifact's code with its own buffers; `threads` is how many threads one call uses.

    Several threads may call it side by side: each call under way at a time has a workspace of its own.
    """

    def __init__(self, artifact: Artifact, library: Any, parameters: Bytes, threads: int) -> None:
        self.artifact = artifact
        self.manifest = artifact.manifest
        self.threads = threads
        self._library = library
        self._parameters = parameters
        self._main = self._entry("main", self.manifest.inputs[0], self.manifest.input_alignment)
        canvases = TensorSpec("pixels", (self.batch, *self.canvas_hw, 3), "uint8")
        self._pixels = self._entry("pixels", canvases, 1) if self.manifest.normalization else None

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
        except (*REFUSALS, OSError, KeyError, AttributeError, MemoryError, OverflowError) as error:
            raise ArtifactError(
                f"{artifact.code} cannot be loaded ({_reason(error)}); it was compiled with tvm "
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
        try:
            return self._main.call(tensor)
        except REFUSALS as error:
            raise self._contradiction(error) from error

    def infer_pixels(self, canvases: npt.NDArray[np.uint8]) -> dict[str, FloatArray]:
        """u8 canvases (N, H, W, 3), in the color order of `manifest.normalization`, -> outputs by name.

        Equal to `infer` of the normalized canvases, to the bit. Raises ShapeError; ArtifactError when the build config
        gave no normalization.
        """
        if self._pixels is None:
            raise ArtifactError(
                f"{self.artifact.prefix} was compiled without dataset.process_ops: it takes normalized float input only"
            )
        try:
            return self._pixels.call(canvases)
        except REFUSALS as error:
            raise self._contradiction(error) from error

    def canvas_maker(self, params: VdspParams) -> CanvasMaker:
        """What lays images on canvases as `params` say, by the compiled letterbox if the artifact has one."""
        compiled = self._library.implements_function(LETTERBOX, True)
        return CanvasMaker(params, self._library.get_function(LETTERBOX, True) if compiled else None)

    def trace(self, tensor: FloatArray) -> Trace:
        """The kernels that `infer` of this input calls, to be timed one by one, while no other thread uses this model.

        Raises ShapeError as `infer` does.
        """
        buffers = self._main.idle_buffers()
        image = tvm_ffi.from_dlpack(buffers.input.readable(tensor))
        results = buffers.free_results()
        regions = {"parameters": self._parameters, "workspace": buffers.workspace, "outputs": results.memory}
        tensors = [
            [
                image
                if at.region == "input"
                else tvm_ffi.from_dlpack(np.ndarray(at.shape, at.dtype, regions[at.region], at.offset))
                for at in call.arguments
            ]
            for call in self.manifest.calls
        ]
        arguments = image, *buffers.regions, results.tensor
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
        try:
            kernel(*inputs, params.confidence_threshold, params.nms_threshold, *map(tvm_ffi.from_dlpack, slots))
        except REFUSALS as error:
            raise self._contradiction(error) from error
        return Slots(*slots)

    def _contradiction(self, error: Exception) -> ArtifactError:
        """What it means that code refuses what the manifest says it takes."""
        return ArtifactError(
            f"{self.artifact.prefix}.json does not say what {self.artifact.code.name} takes ({_reason(error)}): copy "
            "all three files again, or compile the model again"
        )

    def _entry(self, name: str, spec: TensorSpec, alignment: int) -> Entry:
        def new_buffers() -> Buffers:
            return Buffers(self.manifest, self._parameters, InputArray(spec, alignment, self.artifact.prefix))

        return Entry(self._library.get_function(name, True), new_buffers, self.threads)


def _reason(error: Exception) -> str:
    """The first line of what tvm or numpy says."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return shown(line.removesuffix(" when calling:"), 150)


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
