"""The artifact as a face detector: images in, faces out."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

from facedeploy.config.vdsp_params import Geometry, VdspParams
from facedeploy.core.detections import Detections
from facedeploy.core.errors import ArtifactError, ConfigError, ShapeError
from facedeploy.core.nms_params import NmsParams
from facedeploy.core.normalization import ColorOrder, NormaType
from facedeploy.image.operations import Pixels
from facedeploy.image.vdsp import normalization_from_vdsp
from facedeploy.runtime.graph import Chain, Graph, Operator, Stage
from facedeploy.runtime.model import Model
from facedeploy.runtime.operator import Decode, Infer, Preprocess, ToSource, Work
from facedeploy.runtime.stream import Stream

Image = str | Path | Pixels  # A file, or (h, w, 3) u8 pixels.

_DECODE = Decode()


class FaceDetector:
    """Detects faces with one or more instances of a compiled model.

    A stream has `decoders` threads that read images; with 0 the threads of the instances do, as suits pixels.
    `note` is a sentence worth telling the user, or empty: the vdsp JSON asks for another normalization than the
    artifact was built for.
    """

    def __init__(
        self, models: list[Model], params: VdspParams, nms: NmsParams, decoders: int = 1, note: str = ""
    ) -> None:
        self.models, self.params, self.nms, self.decoders, self.note = models, params, nms, decoders, note

    @property
    def batch(self) -> int:
        """Images that the artifact takes at a time."""
        return self.models[0].batch

    def preprocess(self) -> Preprocess:
        """The operator from pixels to the canvas."""
        return Preprocess(self.models[0].canvas_maker(self.params))

    def slots_graph(self, decode: Operator, then: Sequence[Stage] = ()) -> Graph:
        """The graph from sources that `decode` reads to slots in canvas px, and whatever comes `then`."""
        return self._graph(decode, (), then)

    def graph(self, then: Sequence[Stage] = (), decode: Operator = _DECODE) -> Graph:
        """The graph from images (paths or pixels) to detections in source px, and whatever comes `then`."""
        return self._graph(decode, (ToSource(),), then)

    def _graph(self, decode: Operator, after: Sequence[Operator], then: Sequence[Stage]) -> Graph:
        # All but decoding goes with the model: handing an image over costs more than the smaller steps do.
        before = (self.preprocess(),) if self.decoders else (decode, self.preprocess())
        infer = [Chain((*before, Infer(model, self.params, self.nms), *after)) for model in self.models]
        stages = [Stage("decode", [decode] * self.decoders)] if self.decoders else []
        return Graph((*stages, Stage("infer", infer), *then), self.batch)

    @classmethod
    def from_artifact(
        cls,
        prefix: str | Path,
        vdsp_params: VdspParams | None = None,
        *,
        confidence_threshold: float | None = None,
        nms_threshold: float | None = None,
        max_detections: int | None = None,
        instances: int | None = 1,
        decoders: int = 1,
        threads: int | None = None,
        device: int = 0,
    ) -> "FaceDetector":
        """Open `.../mod`. Without `vdsp_params`: letterbox to the artifact's canvas, normalization of its manifest.

        Thresholds and `max_detections` default to the manifest's. `instances` and `threads`: see
        `Model.open_instances`; one instance answers soonest, one for each CPU does most. Raises ArtifactError,
        DeviceError, ConfigError for a threshold out of range, and ShapeError when the JSON's canvas is not the
        artifact's.
        """
        models = Model.open_instances(prefix, instances, device=device, threads=threads)
        manifest = models[0].manifest
        if manifest.postprocess is None:
            raise ArtifactError(f"{models[0].artifact.prefix} was compiled without graph.extra_ops: no boxes")
        default = manifest.postprocess.nms
        try:
            nms = NmsParams(
                default.confidence_threshold if confidence_threshold is None else confidence_threshold,
                default.nms_threshold if nms_threshold is None else nms_threshold,
                default.max_detections if max_detections is None else max_detections,
            )
        except ValueError as error:
            raise ConfigError(str(error)) from error
        params = vdsp_params or letterbox_params(models[0])
        if params.canvas_hw != models[0].canvas_hw:
            (got_h, got_w), (height, width) = params.canvas_hw, models[0].canvas_hw
            raise ShapeError(
                f"the vdsp JSON makes a canvas of {got_w}x{got_h} (width x height), {models[0].artifact.prefix} holds "
                f"{width}x{height}: set OimageWidth and OimageHeight to that, or compile for the JSON's size"
            )
        wanted, built = normalization_from_vdsp(params), manifest.normalization
        note = ""
        if built is not None and wanted != built:
            note = f"the vdsp JSON normalizes as {wanted}, the artifact was built for {built}: the JSON is followed"
        return cls(models, params, nms, decoders, note)

    def detect(self, image: Image, order: ColorOrder = "BGR") -> Detections:
        """Faces in one image, a file or (h, w, 3) u8 pixels in `order`. Raises ImageError when it is none."""
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
        decode: Operator = _DECODE,
    ) -> Generator[Work, None, None]:
        """Stream files, BGR pixels or `Work`; yields each in input order, with `detections` or `error` set.

        `then` adds stages, such as one that writes results. `depth` bounds how many batches are under way at a time.
        `decode` is the first stage.
        """
        return Stream(self.graph(then, decode), depth).run_async(map(_work, images))


def letterbox_params(model: Model) -> VdspParams:
    """What the vdsp JSON would say of the artifact's own canvas and normalization.

    Raises ArtifactError when the artifact has no normalization, so that only a JSON can tell.
    """
    normalization = model.manifest.normalization
    if normalization is None:
        raise ArtifactError(
            f"{model.artifact.prefix} was compiled without dataset.process_ops: give a vdsp JSON (--vdsp_params_info)"
        )
    kinds: dict[float, NormaType] = {
        1.0: "MINUSMEAN_DIVSTD",
        127.5: "DIV1275_MINUSONE",
        255.0: "DIV255_MINUSMEAN_DIVSTD",
    }
    if normalization.scale not in kinds:
        raise ArtifactError(
            f"{model.artifact.prefix} divides pixels by {normalization.scale:g}, which is none of the kinds of "
            "normalization: give a vdsp JSON (--vdsp_params_info)"
        )
    return VdspParams(
        op_type="FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR",
        geometry=Geometry(model.canvas_hw, model.canvas_hw, keep_aspect=True),
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
