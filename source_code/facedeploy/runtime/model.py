"""A compiled model, opened: numpy in, numpy out."""

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
import tvm_ffi

from facedeploy.artifact.manifest import ALIGNMENT, INTEGERS, MAIN, Rung
from facedeploy.artifact.manifest import PostProcess as PostProcessSpec
from facedeploy.artifact.store import Artifact, open_artifact
from facedeploy.config.vdsp_params import VdspParams
from facedeploy.core.errors import ArtifactError, ShapeError
from facedeploy.core.nms_params import NmsParams
from facedeploy.core.normalization import Normalization
from facedeploy.core.shown import shown
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.detect.slots import Slots
from facedeploy.image.vdsp import normalization_from_vdsp
from facedeploy.runtime.device import check_machine, choose_devices
from facedeploy.runtime.entry import REFUSALS, Buffers, Entry
from facedeploy.runtime.input_array import InputArray
from facedeploy.runtime.input_maker import Batch, BatchLayout, InputMaker
from facedeploy.runtime.memory import Bytes
from facedeploy.runtime.parameters import read_parameters
from facedeploy.runtime.postprocess import PostProcess
from facedeploy.runtime.threads import instances_of_machine, threads_of_call
from facedeploy.runtime.trace import Trace

FloatArray = npt.NDArray[np.float32]
# What opening code raises that is damaged, or is not what its manifest says.
UNUSABLE = *REFUSALS, OSError, KeyError, AttributeError, MemoryError, OverflowError


class Model:
    """One instance of an artifact's code, for one shape, with its own buffers; `threads` is how many one call uses.

    Several threads may call it side by side: each call under way at a time has a workspace of its own.
    """

    def __init__(self, artifact: Artifact, rung: Rung, library: Any, parameters: Bytes, threads: int) -> None:
        self.artifact = artifact
        self.manifest = artifact.manifest
        self.rung = rung
        self.threads = threads
        self._library = library
        self._parameters = parameters
        self._main = self._entry(MAIN, rung.input, rung.input_alignment)
        self._integers = self._entry(INTEGERS, rung.integers.tensor, ALIGNMENT) if rung.integers else None
        self._pixels: BatchLayout | None = None  # Of the manifest's normalization, once it is asked for.
        self._postprocess: PostProcess | None = None  # For the thresholds that were asked for last.

    @classmethod
    def open(cls, prefix: str | Path, *, device: int = 0, threads: int | None = None) -> "Model":
        """Open one instance of `.../mod`, for its first shape; see `open_instances`."""
        return cls.open_instances(prefix, 1, device=device, threads=threads)[0]

    @classmethod
    def open_instances(
        cls, prefix: str | Path, count: int | None, *, device: int | Sequence[int] = 0, threads: int | None = None
    ) -> list["Model"]:
        """Open `count` instances, for the artifact's first shape, that share code and weights.

        None: as many as keep all CPUs busy, a thread each. With several devices they take one each, in turn. Where the
        machine has several, which are its NUMA nodes, calls run on threads of the instance's own, and each device has a
        copy of the weights.

        `threads` for each call: by default the config's `backend.compile.threads`, else the CPUs shared out among the
        instances. Raises ArtifactError (missing, damaged, foreign) and DeviceError (another machine's; no such device;
        more threads than there are).
        """
        artifact = open_artifact(prefix)
        check_machine(artifact)
        if count is None:
            count = instances_of_machine(threads or artifact.manifest.target.threads)
        devices = choose_devices(device, count)
        threads = threads_of_call(threads, artifact.manifest.target.threads, count, devices)
        try:
            library = _load(artifact.code)
            if devices[0].cpus is not None:
                pools = [device.threads() for device in devices]
                copies = [pool.submit(read_parameters, artifact).result() for pool in pools]
                places = islice(cycle(zip(pools, copies, strict=True)), count)
                first = artifact.manifest.base
                return [
                    on.submit(PinnedModel, artifact, first, library, copy, threads, on).result() for on, copy in places
                ]
            parameters = read_parameters(artifact)
            return [cls(artifact, artifact.manifest.base, library, parameters, threads) for _ in range(count)]
        except UNUSABLE as error:
            raise ArtifactError(
                f"{artifact.code} cannot be loaded ({_reason(error)}); it was compiled with tvm "
                f"{artifact.manifest.versions.tvm}, here is {tvm.__version__}: compile the model again"
            ) from error

    def at(self, rung: Rung) -> "Model":
        """The same instance, its code and weights, for another shape of the artifact. Raises ArtifactError."""
        if rung is self.rung:
            return self
        try:
            return self._at(rung)
        except UNUSABLE as error:
            raise self._contradiction(error) from error

    def _at(self, rung: Rung) -> "Model":
        return Model(self.artifact, rung, self._library, self._parameters, self.threads)

    @property
    def canvas_hw(self) -> tuple[int, int]:
        """Height and width, px, of the canvas."""
        return self.rung.canvas_hw

    @property
    def batch(self) -> int:
        """Images that one call takes."""
        return self.rung.batch

    def infer(self, tensor: FloatArray) -> dict[str, FloatArray]:
        """Normalized input (N, 3, H, W) float32 -> outputs by name. Raises ShapeError for another shape or dtype."""
        try:
            return self._main.call(tensor)
        except REFUSALS as error:
            raise self._contradiction(error) from error

    def infer_batch(self, batch: Batch) -> dict[str, FloatArray]:
        """What an `input_maker` of this model's made of images -> outputs by name."""
        entry = self._main if self._integers is None or batch.array.dtype == np.float32 else self._integers
        try:
            return entry.call(batch.array)
        except REFUSALS as error:
            raise self._contradiction(error) from error

    def infer_pixels(self, canvases: npt.NDArray[np.uint8]) -> dict[str, FloatArray]:
        """u8 canvases (N, H, W, 3), in the color order of `manifest.normalization`, -> outputs by name.

        Equal to `infer` of the normalized canvases, to the bit. Raises ShapeError; ArtifactError when the build config
        gave no normalization.
        """
        normalization = self.manifest.normalization
        if normalization is None:
            raise ArtifactError(
                f"{self.artifact.prefix} was compiled without dataset.process_ops: it takes normalized float input only"
            )
        if self._pixels is None:
            self._pixels = self._layout(normalization)
        spec = TensorSpec("pixels", (self.batch, *self.canvas_hw, 3), "uint8")
        array = InputArray(spec, 1, self.artifact.prefix).readable(canvases)
        batch = self._pixels.new_batch()
        for position, canvas in enumerate(array):
            self._pixels.put(canvas, batch, position)
        return self.infer_batch(batch)

    def input_maker(self, params: VdspParams) -> InputMaker:
        """What makes batches for this model of images, laid on its canvas as `params` say."""
        return InputMaker(params, self._layout(normalization_from_vdsp(params)))

    def _layout(self, normalization: Normalization) -> BatchLayout:
        return BatchLayout(self._library, self.rung, self.manifest.normalization, normalization)

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
            for call in self.rung.calls
        ]
        arguments = image, *buffers.regions, results.tensor
        return Trace(self._library, self.rung.calls, tensors, lambda: self._main.function(*arguments), self.threads)

    def detect(self, outputs: Mapping[str, FloatArray], params: NmsParams | None = None) -> Slots:
        """Outputs of `infer` -> slots in canvas px, by the compiled post-processing.

        `params` defaults to the manifest's. Raises ArtifactError when the artifact was compiled without one; ShapeError
        when the outputs are not this artifact's.
        """
        post = self.manifest.postprocess
        if post is None:
            raise ArtifactError(f"{self.artifact.prefix} was compiled without graph.extra_ops, so it decodes no boxes")
        params = params or post.nms
        process = self._postprocess
        if process is None or process.params != params:
            process = self._postprocess = self._new_postprocess(post, params)
        try:
            return process(outputs)
        except KeyError:
            raise ShapeError(
                f"got outputs {', '.join(outputs) or 'none'}; {self.artifact.prefix} decodes {', '.join(post.inputs)}"
            ) from None
        except REFUSALS as error:
            raise self._contradiction(error) from error

    def _new_postprocess(self, post: PostProcessSpec, params: NmsParams) -> PostProcess:
        specs = {spec.name: spec for spec in self.rung.outputs}
        heads = [specs[name] for name in post.inputs]
        kernel = self._library.get_function(post.head.type + self.rung.suffix, True)
        return PostProcess(kernel, heads, params, self.artifact.prefix)

    def _contradiction(self, error: Exception) -> ArtifactError:
        """What it means that code refuses what the manifest says it takes."""
        return ArtifactError(
            f"{self.artifact.prefix}.json does not say what {self.artifact.code.name} takes ({_reason(error)}): copy "
            "all three files again, or compile the model again"
        )

    def _entry(self, name: str, spec: TensorSpec, alignment: int) -> Entry:
        def new_buffers() -> Buffers:
            return Buffers(self.rung, self._parameters, InputArray(spec, alignment, self.artifact.prefix))

        return Entry(self._library.get_function(name + self.rung.suffix, True), new_buffers, self.threads)


class PinnedModel(Model):
    """An instance whose calls run on threads that stay on one device, whichever thread asks for them."""

    def __init__(
        self, artifact: Artifact, rung: Rung, library: Any, parameters: Bytes, threads: int, pool: ThreadPoolExecutor
    ) -> None:
        """To be called on a thread of `pool`, so that what is touched first is touched there."""
        super().__init__(artifact, rung, library, parameters, threads)
        self._pool = pool

    def _at(self, rung: Rung) -> Model:
        rest = self._library, self._parameters, self.threads, self._pool
        return self._pool.submit(PinnedModel, self.artifact, rung, *rest).result()

    def infer(self, tensor: FloatArray) -> dict[str, FloatArray]:
        """As Model does."""
        return self._pool.submit(super().infer, tensor).result()

    def infer_batch(self, batch: Batch) -> dict[str, FloatArray]:
        """As Model does."""
        return self._pool.submit(super().infer_batch, batch).result()

    def detect(self, outputs: Mapping[str, FloatArray], params: NmsParams | None = None) -> Slots:
        """As Model does."""
        return self._pool.submit(super().detect, outputs, params).result()


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
