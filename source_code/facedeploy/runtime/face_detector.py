"""The artifact as a face detector: images in, faces out."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path

from facedeploy.artifact.store import Artifact
from facedeploy.config.vdsp_params import Geometry, VdspParams
from facedeploy.core.checks import check_order, check_share, check_whole
from facedeploy.core.cores import available_cores
from facedeploy.core.detections import Detections
from facedeploy.core.errors import ArtifactError, ConfigError
from facedeploy.core.nms_params import NmsParams
from facedeploy.core.normalization import ColorOrder, NormaType
from facedeploy.image.operations import Pixels
from facedeploy.image.vdsp import normalization_from_vdsp
from facedeploy.runtime.graph import Graph, Operator, Stage
from facedeploy.runtime.ladder import Canvas, at_scale, on_canvas, rungs_for
from facedeploy.runtime.meter import StreamMeter
from facedeploy.runtime.model import Model
from facedeploy.runtime.operator import Decode, Infer, Preprocess, ToSource, Work
from facedeploy.runtime.stream import Stream

Image = str | Path | Pixels  # A file, or (h, w, 3) u8 pixels.

_DECODE = Decode()


class FaceDetector:
    """Detects faces with one or more instances of a compiled model.

    `instances` have one model for each shape in use. `canvases` say how an image is laid on each of their canvases,
    and normalized, which is the same for all. A stream has `decoders` threads that read images; with 0 the threads of
    the instances do. `note` is a sentence worth telling the user, or empty: the vdsp JSON asks for another
    normalization than the artifact was built for.
    """

    def __init__(
        self,
        instances: Sequence[Sequence[Model]],
        canvases: Sequence[VdspParams],
        nms: NmsParams,
        decoders: int = 1,
        note: str = "",
    ) -> None:
        self.instances, self.canvases, self.nms, self.decoders, self.note = instances, canvases, nms, decoders, note
        # From pixels to batches; and from there to slots, by each instance. Kept, since they use memory again.
        params_on = {params.canvas_hw: params for params in canvases}
        self.preprocess = Preprocess([model.input_maker(params_on[model.canvas_hw]) for model in instances[0]])
        self.infers = [Infer(models, nms) for models in instances]

    @property
    def artifact(self) -> Artifact:
        """What is compiled."""
        return self.instances[0][0].artifact

    @property
    def batch(self) -> int:
        """The most images that a call takes."""
        return max(model.batch for model in self.instances[0])

    def slots_graph(self, decode: Operator, then: Sequence[Stage] = (), at_once: int = 1) -> Graph:
        """The graph from sources that `decode` reads to slots in canvas px, and whatever comes `then`.

        Each stage does `at_once` images before the next one does, in whole batches.
        """
        stages = (
            Stage("decode", [decode] * max(self.decoders, 1)),
            Stage("preprocess", [self.preprocess], joined=self.decoders == 0),
            Stage("infer", self.infers, joined=True),
        )
        return Graph((*stages, *then), -(-at_once // self.batch) * self.batch)

    def graph(self, then: Sequence[Stage] = (), decode: Operator = _DECODE, at_once: int = 1) -> Graph:
        """The graph from images (paths or pixels) to detections in source px, and whatever comes `then`."""
        return self.slots_graph(decode, (Stage("to source", [ToSource()], joined=True), *then), at_once)

    @classmethod
    def from_artifact(
        cls,
        prefix: str | Path,
        vdsp_params: VdspParams | None = None,
        *,
        confidence_threshold: float | None = None,
        nms_threshold: float | None = None,
        max_detections: int | None = None,
        canvas: Canvas | None = None,
        scale: float | None = None,
        batch: int | None = None,
        instances: int | None = 1,
        decoders: int | None = 1,
        threads: int | None = None,
        device: int | Sequence[int] = 0,
    ) -> "FaceDetector":
        """Open `.../mod`. Without `vdsp_params`: letterbox to the artifact's canvas, normalization of its manifest.

        Of an artifact with several shapes, `canvas` is the one to use, (height, width) px, or "nearest": for each image
        the smallest of those that show it largest. It defaults to the JSON's, else to the artifact's first. With a
        `scale`, 0.1 to 2, images are not fitted to the canvas but seen at so many times their size, by default on the
        smallest canvas that has room; one that has room on none is an error of that image. A call takes up to `batch`
        images, by default as many as the artifact's first shape. Thresholds and `max_detections` default to the
        manifest's. `instances`, `threads` and `device`: see `Model.open_instances`; one instance answers soonest, one
        for each CPU does most. `decoders` None: as many as there are CPUs; where there is an instance for each, none
        but these, which spares an image its way from one CPU's caches to another's. Raises ArtifactError, DeviceError,
        ConfigError for an option that cannot be or a JSON whose layout cannot be had on another canvas or at a scale,
        and ShapeError for a canvas or batch that the artifact lacks.
        """
        for name, count in {"batch": batch, "instances": instances, "threads": threads}.items():
            if count is not None:
                check_whole(name, count)
        if decoders is not None:
            check_whole("decoders", decoders, 0)
        for name, share in {"confidence_threshold": confidence_threshold, "nms_threshold": nms_threshold}.items():
            if share is not None:
                check_share(name, share)
        models = Model.open_instances(prefix, instances, device=device, threads=threads)
        artifact, manifest = models[0].artifact, models[0].manifest
        if manifest.postprocess is None:
            raise ArtifactError(f"{artifact.prefix} was compiled without graph.extra_ops: no boxes")
        default = manifest.postprocess.nms
        try:
            nms = NmsParams(
                default.confidence_threshold if confidence_threshold is None else confidence_threshold,
                default.nms_threshold if nms_threshold is None else nms_threshold,
                default.max_detections if max_detections is None else max_detections,
            )
        except ValueError as error:
            raise ConfigError(str(error)) from error
        params = vdsp_params or letterbox_params(artifact)
        if scale is not None:
            params, canvas = at_scale(params, scale), canvas or "nearest"
        rungs = rungs_for(artifact, params.canvas_hw, canvas, batch)
        canvases = [on_canvas(params, hw) for hw in dict.fromkeys(rung.canvas_hw for rung in rungs)]
        wanted, built = normalization_from_vdsp(params), manifest.normalization
        note = ""
        if built is not None and wanted != built:
            note = f"the vdsp JSON normalizes as {wanted}, the artifact was built for {built}: the JSON is followed"
        if decoders is None:
            decoders = 0 if len(models) >= available_cores() else available_cores()
        return cls([[model.at(rung) for rung in rungs] for model in models], canvases, nms, decoders, note)

    def detect(self, image: Image, order: ColorOrder = "BGR") -> Detections:
        """Faces in one image, a file or (h, w, 3) u8 pixels in `order`.

        Raises ImageError when it is none, and ConfigError for another order than RGB or BGR.
        """
        check_order(order)
        (work,) = self.run_sync([_work(image, order)])
        if work.error is not None:
            raise work.error
        assert work.detections is not None
        return work.detections

    def run_sync(self, images: Iterable[Image | Work]) -> Iterator[Work]:
        """What `run_async` yields, one batch after the other in this thread."""
        return Stream(self.graph()).run_sync(map(_work, images))

    def run_async(
        self,
        images: Iterable[Image | Work],
        *,
        then: Sequence[Stage] = (),
        depth: int | None = None,
        at_once: int = 1,
        decode: Operator = _DECODE,
        meter: StreamMeter | None = None,
        cancel: Callable[[], None] = lambda: None,
    ) -> Generator[Work, None, None]:
        """Stream files, BGR pixels or `Work`; yields each in input order, with `detections` or `error` set.

        `then` adds stages, such as one that writes results. A stage takes `at_once` images, in whole batches; more of
        them take less CPU time, and longer until the first is done, since what runs after the model finds its code gone
        from the caches once for all of them. `depth` bounds how many times so many are under way at a time.
        `decode` is the first stage. `meter`, `cancel`: see `Stream.run_async`.
        """
        return Stream(self.graph(then, decode, at_once), depth).run_async(
            map(_work, images), meter=meter, cancel=cancel
        )


def letterbox_params(artifact: Artifact) -> VdspParams:
    """What the vdsp JSON would say of the artifact's own canvas and normalization.

    Raises ArtifactError when the artifact has no normalization, so that only a JSON can tell.
    """
    normalization = artifact.manifest.normalization
    if normalization is None:
        raise ArtifactError(
            f"{artifact.prefix} was compiled without dataset.process_ops: give a vdsp JSON (--vdsp_params_info)"
        )
    canvas_hw = artifact.manifest.base.canvas_hw
    kinds: dict[float, NormaType] = {
        1.0: "MINUSMEAN_DIVSTD",
        127.5: "DIV1275_MINUSONE",
        255.0: "DIV255_MINUSMEAN_DIVSTD",
    }
    if normalization.scale not in kinds:
        raise ArtifactError(
            f"{artifact.prefix} divides pixels by {normalization.scale:g}, which is none of the kinds of "
            "normalization: give a vdsp JSON (--vdsp_params_info)"
        )
    return VdspParams(
        op_type="FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR",
        geometry=Geometry(canvas_hw, canvas_hw, keep_aspect=True),
        resize_type="BILINEAR_CV",
        color_order=normalization.color_order,
        norma_type=kinds[normalization.scale],
        mean=normalization.mean,
        std=normalization.std,
    )


def _work(image: Image | Work, order: ColorOrder = "BGR") -> Work:
    if isinstance(image, Work):
        return image
    if isinstance(image, str | Path):
        return Work(Path(image).stem, Path(image))
    return Work("", image, order)
