"""The operators of a detection graph: each takes a unit of work and returns what the next one takes."""

from collections.abc import Callable, Mapping, Sequence
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
from facedeploy.runtime.canvas import CanvasMaker
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


Unit = Sequence[Work]  # As many images as the model's batch, fewer at the end.


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
    """Pixels -> canvas, by the vdsp JSON."""

    make_canvas: CanvasMaker

    def __call__(self, unit: Unit) -> Unit:
        """Fill `canvas` and `letterbox`, or set `error` when the pixels are not an image's."""
        for work in unit:
            if work.image is None:
                continue
            try:
                work.canvas, work.letterbox = self.make_canvas(work.image, work.order)
            except FacedeployError as error:
                work.error = error
        return unit


@dataclass(frozen=True)
class Infer:
    """Canvas -> slots: the compiled model and the compiled post-processing."""

    model: Model
    params: VdspParams
    nms: NmsParams | None = None
    _as_pixels: bool = field(init=False)

    def __post_init__(self) -> None:
        # The u8 entry saves the float copy, where it means the same.
        same = self.model.manifest.normalization == normalization_from_vdsp(self.params)
        object.__setattr__(self, "_as_pixels", same)

    def __call__(self, unit: Unit) -> Unit:
        """Fill `slots`. A unit smaller than the batch is filled up with black canvases, whose results are dropped."""
        usable = [work for work in unit if work.canvas is not None]
        if usable:
            self.postprocess(usable, self.infer(usable))
        return unit

    def infer(self, unit: Unit) -> Outputs:
        """The first half, for images that all have a canvas: outputs of the model by name."""
        canvases = self._batch([work.canvas for work in unit if work.canvas is not None])
        if self._as_pixels:
            return self.model.infer_pixels(canvases)
        return self.model.infer(np.stack([normalize(canvas, self.params) for canvas in canvases]))

    def _batch(self, canvases: Sequence[Pixels]) -> Pixels:
        if self.model.batch == 1:
            return canvases[0][None]
        batch = np.zeros((self.model.batch, *self.model.canvas_hw, 3), np.uint8)
        for position, canvas in enumerate(canvases):
            batch[position] = canvas
        return batch

    def postprocess(self, unit: Unit, outputs: Outputs) -> None:
        """The second half: fill `slots` of the same images."""
        slots = self.model.detect(outputs, self.nms)
        if self.model.batch == 1:
            unit[0].slots = slots
            return
        for position, work in enumerate(unit):
            work.slots = Slots(*(part[position : position + 1] for part in slots))


@dataclass(frozen=True)
class ToSource:
    """Slots -> detections in source px."""

    def __call__(self, unit: Unit) -> Unit:
        """Fill `detections`."""
        for work in unit:
            if work.slots is not None and work.letterbox is not None:
                work.detections = detections_of(work.slots, work.letterbox)
        return unit
