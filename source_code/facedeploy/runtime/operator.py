"""The operators of a detection graph: each takes a unit of work and returns what the next one takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedeploy.core.detections import Detections
from facedeploy.core.errors import FacedeployError, ImageError
from facedeploy.core.letterbox import Letterbox
from facedeploy.core.nms_params import NmsParams
from facedeploy.core.normalization import ColorOrder
from facedeploy.detect.slots import Slots, detections_of
from facedeploy.image.decode import read_image
from facedeploy.image.operations import check_pixels
from facedeploy.runtime.input_maker import Batch, InputMaker, nearest
from facedeploy.runtime.model import Model

Pixels = npt.NDArray[np.uint8]
Outputs = Mapping[str, npt.NDArray[np.float32]]


@dataclass
class Work:
    """One image on its way through a graph; each operator fills in its part.

    `source` is a path, or (h, w, 3) u8 pixels in `order`. An operator that cannot go on because of the image sets
    `error`, and the later ones pass it by. `batch` has it at `position` until the model has seen it. `slots` holds this
    image alone: (1, K, ...), canvas px.
    """

    name: str
    source: Path | Pixels
    order: ColorOrder = "BGR"
    image: Pixels | None = None
    batch: Batch | None = None
    position: int = 0
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


class Preprocess:
    """Pixels -> batches, by the vdsp JSON. Each image goes on the `nearest` canvas; images of one canvas go together,
    as many as there is a batch for.
    """

    def __init__(self, makers: Sequence[InputMaker]) -> None:
        """`makers` are one for each shape."""
        self._by_canvas: dict[tuple[int, int], list[InputMaker]] = {maker.rung.canvas_hw: [] for maker in makers}
        for maker in sorted(makers, key=lambda maker: -maker.rung.batch):
            self._by_canvas[maker.rung.canvas_hw].append(maker)
        self._canvases = [makers[0].params for makers in self._by_canvas.values()]

    def __call__(self, unit: Unit) -> Unit:
        """Fill `batch`, `position` and `letterbox`, or set `error`: not the pixels of an image, or one without room.

        The rest of a batch that fewer images go in is anything: what the model makes of that is dropped.
        """
        groups: dict[tuple[int, int], list[Work]] = {}
        for work in unit:
            if work.image is None:
                continue
            try:
                check_pixels(work.image)
                source_hw = work.image.shape[0], work.image.shape[1]
                canvas_hw = nearest(self._canvases, source_hw).canvas_hw
                work.letterbox = self._by_canvas[canvas_hw][0].place(source_hw)
            except FacedeployError as error:
                work.error = error
                continue
            groups.setdefault(canvas_hw, []).append(work)
        for canvas_hw, works in groups.items():
            makers, start = self._by_canvas[canvas_hw], 0
            while left := works[start:]:
                maker = next((maker for maker in makers if maker.rung.batch <= len(left)), makers[-1])
                _lay(maker, left[: maker.rung.batch])
                start += maker.rung.batch
        return unit


def _lay(maker: InputMaker, works: Sequence[Work]) -> None:
    batch = maker.new_batch()
    for position, work in enumerate(works):
        assert work.image is not None
        assert work.letterbox is not None
        maker.lay(work.image, work.order, work.letterbox, batch, position)
        work.batch, work.position = batch, position


@dataclass(frozen=True)
class Inferred:
    """What one call of a model made of these images: outputs by name."""

    model: Model
    works: Sequence[Work]
    outputs: Outputs


class Infer:
    """Batches -> slots: the compiled model and the compiled post-processing."""

    def __init__(self, models: Sequence[Model], nms: NmsParams | None = None) -> None:
        """`models` are one instance for each shape that it takes."""
        self._models = {model.rung.suffix: model for model in models}
        self._nms = nms

    def __call__(self, unit: Unit) -> Unit:
        """Fill `slots`."""
        self.postprocess(self.infer(unit))
        return unit

    def infer(self, unit: Unit) -> list[Inferred]:
        """The first half: a call of the model for each batch, which may be used again then."""
        batches: dict[Batch, list[Work]] = {}
        for work in unit:
            if work.batch is not None:
                batches.setdefault(work.batch, []).append(work)
                work.batch = None
        calls = []
        while batches:
            batch = next(iter(batches))
            works, model = batches.pop(batch), self._models[batch.rung.suffix]
            calls.append(Inferred(model, works, model.infer_batch(batch)))
        return calls

    def postprocess(self, calls: Sequence[Inferred]) -> None:
        """The second half: fill `slots` of the images of those calls."""
        for call in calls:
            slots = call.model.detect(call.outputs, self._nms)
            if call.model.batch == 1:
                call.works[0].slots = slots
                continue
            for work in call.works:
                work.slots = Slots(*(part[work.position : work.position + 1] for part in slots))


@dataclass(frozen=True)
class ToSource:
    """Slots -> detections in source px."""

    def __call__(self, unit: Unit) -> Unit:
        """Fill `detections`."""
        for work in unit:
            if work.slots is not None and work.letterbox is not None:
                work.detections = detections_of(work.slots, work.letterbox)
        return unit
