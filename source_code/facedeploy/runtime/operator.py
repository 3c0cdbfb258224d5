"""The operators of a detection graph: each takes a unit of work and returns what the next one takes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedeploy.config.vdsp_params import VdspParams
from facedeploy.core.detections import Detections
from facedeploy.core.errors import FacedeployError, ImageError
from facedeploy.core.letterbox import Letterbox
from facedeploy.core.nms_params import NmsParams
from facedeploy.core.normalization import ColorOrder
from facedeploy.detect.slots import Slots, detections_of
from facedeploy.image.decode import read_image
from facedeploy.image.vdsp import normalization_from_vdsp, normalize
from facedeploy.runtime.canvas import CanvasMaker, nearest
from facedeploy.runtime.model import Model

Pixels = npt.NDArray[np.uint8]
Outputs = Mapping[str, npt.NDArray[np.float32]]


@dataclass
class Work:
    """One image on its way through a graph; each operator fills in its part.

    `source` is a path, or (h, w, 3) u8 pixels in `order`. An operator that cannot go on because of the image sets
    `error`, and the later ones pass it by. `slots` holds this image alone: (1, K, ...), canvas px.
    """

    name: str
    source: Path | Pixels
    order: ColorOrder = "BGR"
    image: Pixels | None = None
    canvas: Pixels | None = None
    letterbox: Letterbox | None = None
    slots: Slots | None = None
    detections: Detections | None = None
    error: FacedeployError | None = None


Unit = Sequence[Work]  # As many images as the largest batch, fewer at the end.


@dataclass(frozen=True)
class Decode:
    """Path -> pixels. `read` does it for one file; it raises ImageError that names the file, and the reason."""

    read: Callable[[Path], Pixels] = read_image

    def __call__(self, unit: Unit) -> Unit:
        """Fill `image`, or set `error` when the file cannot be read."""
        for work in unit:
            try:
                work.image = self.read(work.source) if isinstance(work.source, Path) else _pixels(work.source)
            except FacedeployError as error:
                work.error = error
        return unit


def _pixels(source: Pixels) -> Pixels:
    if not isinstance(source, np.ndarray):
        raise ImageError(
            f"got {type(source).__name__}, expected pixels, (height, width, 3) uint8, or a pathlib.Path "
            "(cv2.imread gives None for a file that it cannot read)"
        )
    return source


@dataclass(frozen=True)
class Preprocess:
    """Pixels -> canvas, by the vdsp JSON; of several, on the `nearest` canvas."""

    makers: Sequence[CanvasMaker]

    def __call__(self, unit: Unit) -> Unit:
        """Fill `canvas` and `letterbox`, or set `error` when the pixels are not an image's."""
        for work in unit:
            if work.image is None:
                continue
            try:
                work.canvas, work.letterbox = nearest(self.makers, work.image)(work.image, work.order)
            except FacedeployError as error:
                work.error = error
        return unit


@dataclass(frozen=True)
class Inferred:
    """What one call of a model made of these images: outputs by name."""

    model: Model
    works: Sequence[Work]
    outputs: Outputs


@dataclass(frozen=True)
class Infer:
    """Canvas -> slots: the compiled model and the compiled post-processing.

    `models` are one instance for each shape that it takes; the `params` normalize.
    """

    models: Sequence[Model]
    params: VdspParams
    nms: NmsParams | None = None
    _as_pixels: bool = field(init=False)
    _by_canvas: Mapping[tuple[int, ...], Sequence[Model]] = field(init=False)

    def __post_init__(self) -> None:
        # The u8 entry saves the float copy, where it means the same.
        same = self.models[0].manifest.normalization == normalization_from_vdsp(self.params)
        object.__setattr__(self, "_as_pixels", same)
        by_canvas: dict[tuple[int, ...], list[Model]] = {}
        for model in sorted(self.models, key=lambda model: -model.batch):
            by_canvas.setdefault(model.canvas_hw, []).append(model)
        object.__setattr__(self, "_by_canvas", by_canvas)

    def __call__(self, unit: Unit) -> Unit:
        """Fill `slots`."""
        self.postprocess(self.infer(unit))
        return unit

    def infer(self, unit: Unit) -> list[Inferred]:
        """The first half: calls of the model, for the images that have a canvas.

        Fewer images than any batch are filled up with black canvases, whose results are dropped.
        """
        return [self._call(model, works) for model, works in self._calls(unit)]

    def postprocess(self, calls: Sequence[Inferred]) -> None:
        """The second half: fill `slots` of the images of those calls."""
        for call in calls:
            slots = call.model.detect(call.outputs, self.nms)
            if call.model.batch == 1:
                call.works[0].slots = slots
                continue
            for position, work in enumerate(call.works):
                work.slots = Slots(*(part[position : position + 1] for part in slots))

    def _calls(self, unit: Unit) -> Iterator[tuple[Model, Sequence[Work]]]:
        """Images of one canvas go together, as many as there is a batch for."""
        groups: dict[tuple[int, ...], list[Work]] = {}
        for work in unit:
            if work.canvas is not None:
                groups.setdefault(work.canvas.shape[:2], []).append(work)
        for canvas_hw, works in groups.items():
            models, start = self._by_canvas[canvas_hw], 0
            while left := works[start:]:
                model = next((model for model in models if model.batch <= len(left)), models[-1])
                yield model, left[: model.batch]
                start += model.batch

    def _call(self, model: Model, works: Sequence[Work]) -> Inferred:
        canvases = _batch(model, [work.canvas for work in works if work.canvas is not None])
        if self._as_pixels:
            return Inferred(model, works, model.infer_pixels(canvases))
        tensor = np.stack([normalize(canvas, self.params) for canvas in canvases])
        return Inferred(model, works, model.infer(tensor))


def _batch(model: Model, canvases: Sequence[Pixels]) -> Pixels:
    if model.batch == 1:
        return canvases[0][None]
    batch = np.zeros((model.batch, *model.canvas_hw, 3), np.uint8)
    for position, canvas in enumerate(canvases):
        batch[position] = canvas
    return batch


@dataclass(frozen=True)
class ToSource:
    """Slots -> detections in source px."""

    def __call__(self, unit: Unit) -> Unit:
        """Fill `detections`."""
        for work in unit:
            if work.slots is not None and work.letterbox is not None:
                work.detections = detections_of(work.slots, work.letterbox)
        return unit
