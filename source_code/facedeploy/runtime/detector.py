"""Faces as plain arrays, for applications: names and shapes of the package face_detection (DSFD-Pytorch-Inference)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.artifact.named import find_artifact
from facedeploy.config.vdsp_params import Geometry
from facedeploy.core.checks import check_order, check_share, check_whole
from facedeploy.core.detections import Detections
from facedeploy.core.errors import ArtifactError, ConfigError, ImageError
from facedeploy.core.normalization import ColorOrder
from facedeploy.detect.selection import Selection
from facedeploy.image.operations import Pixels, check_pixels
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.runtime.ladder import Canvas
from facedeploy.runtime.operator import Work

Floats = npt.NDArray[np.float32]
Images = npt.NDArray[np.uint8] | Sequence[Pixels]  # (B, h, w, 3), or B images of any sizes.


@dataclass(frozen=True)
class Detector:
    """Takes images, (h, w, 3) u8 with channels in `order`, and returns arrays in px of each image, best score first.

    What is no such image is an ImageError that says which one.
    """

    detector: FaceDetector
    order: ColorOrder
    selection: Selection

    def detect(self, image: Pixels) -> Floats:
        """Faces of one image: (N, 5) float32, x1 y1 x2 y2 score."""
        return _rows(*self._faces([image], "image"))

    def batched_detect(self, images: Images) -> list[Floats]:
        """`detect` of each image. As many at a time as the artifact's batch run through it together."""
        return [_rows(faces) for faces in self._batch(images)]

    def batched_detect_with_landmarks(self, images: Images) -> tuple[list[Floats], list[Floats]]:
        """`batched_detect`, and for each image (N, 5, 2) float32.

        x y of left eye, right eye, nose, left and right corner of the mouth, left and right as seen in the image.
        """
        found = self._batch(images)
        return [_rows(faces) for faces in found], [faces.landmarks for faces in found]

    def _batch(self, images: Images) -> list[Detections]:
        if isinstance(images, np.ndarray) and images.ndim != 4:
            raise ImageError(
                f"images: got one array of shape {images.shape}, expected (batch, height, width, 3) or a sequence of "
                "images; detect takes a single image"
            )
        if not isinstance(images, np.ndarray | Sequence) or isinstance(images, str | bytes):
            raise ImageError(
                f"images: got {type(images).__name__}, expected an array (batch, height, width, 3) or a sequence of "
                "arrays (height, width, 3)"
            )
        return self._faces(images, "images[{}]")

    def _faces(self, images: Images, called: str) -> list[Detections]:
        """All images are looked at before the first one runs."""
        for index, image in enumerate(images):
            _check(image, called.format(index))
        works = self.detector.run_sync(Work("", image, self.order) for image in images)
        found = []
        for work, image in zip(works, images, strict=True):
            if work.error is not None:
                raise work.error
            assert work.detections is not None
            found.append(self.selection.of(work.detections, (image.shape[0], image.shape[1])))
        return found


def build_detector(
    name_or_prefix: str | Path,
    confidence_threshold: float = 0.5,
    nms_iou_threshold: float = 0.3,
    max_resolution: int | None = None,
    fp16_inference: bool = False,
    clip_boxes: bool = False,
    device: int = 0,
    *,
    canvas: Canvas | None = None,
    order: ColorOrder = "RGB",
    biggest_face: bool = False,
    margin: float = 0.0,
    min_size: float | None = None,
    max_size: float | None = None,
) -> Detector:
    """Open a compiled detector by its name or prefix; `artifact.named.find_artifact` says what a name means.

    Faces of a score above `confidence_threshold` are kept, of two that overlap by more than `nms_iou_threshold` (IoU)
    the better. `order` is that of the channels of the images to come: "RGB", as users of face_detection pass them, or
    "BGR", as cv2.imread reads them. (A FaceDetector, which reads files too, takes BGR unless told otherwise.)

    Each image is fitted, with its aspect, to the size of the artifact's canvas; of several, `canvas` says to which, as
    `FaceDetector.from_artifact` has it. `max_resolution` limits the longer side of what is seen there, px: the image
    lies in the middle of the canvas, smaller than it would. It never enlarges; from the canvas's longer side up it
    changes nothing, and below it costs as much time as without.

    `fp16_inference` takes the fp16 artifact of a name; a prefix given with it must be that of an fp16 artifact.
    Without it a prefix may be of any dtype. `clip_boxes`, `biggest_face`, `margin`, `min_size` and `max_size`: see
    `detect.selection.Selection`.

    Raises ConfigError for an option that cannot be, ArtifactError for an artifact that is not there or not as asked,
    DeviceError for a device that this machine does not have.
    """
    check_order(order)
    check_share("confidence_threshold", confidence_threshold)
    check_share("nms_iou_threshold", nms_iou_threshold)
    if max_resolution is not None:
        check_whole("max_resolution", max_resolution, unit="px")
    try:
        selection = Selection(min_size, max_size, biggest_face, margin, clip_boxes)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    detector = FaceDetector.from_artifact(
        find_artifact(name_or_prefix, "fp16" if fp16_inference else "fp32"),
        confidence_threshold=float(confidence_threshold),
        nms_threshold=float(nms_iou_threshold),
        canvas=canvas,
        device=device,
    )
    manifest = detector.artifact.manifest
    if fp16_inference and manifest.dtype != "fp16":
        raise ArtifactError(
            f"fp16_inference: {detector.artifact.prefix} holds {manifest.dtype}, expected fp16: give the "
            "prefix of an artifact that was compiled with backend.dtype fp16"
        )
    if max_resolution is not None:
        canvases = [
            replace(params, geometry=_limited(params.geometry, int(max_resolution))) for params in detector.canvases
        ]
        detector = FaceDetector(detector.instances, canvases, detector.nms)
    return Detector(detector, order, selection)


def _limited(geometry: Geometry, side: int) -> Geometry:
    """The geometry with the image in an area of at most `side` px each way, in the middle of the canvas."""
    height, width = geometry.canvas_hw
    area_h, area_w = min(height, side), min(width, side)
    return replace(geometry, resize_hw=(area_h, area_w), origin_xy=((width - area_w) // 2, (height - area_h) // 2))


def _check(image: Any, called: str) -> None:
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"{called}: got {type(image).__name__}, expected pixels, (height, width, 3) uint8 (cv2.imread gives None "
            "for a file that it cannot read; FaceDetector reads files)"
        )
    try:
        check_pixels(image)
    except ImageError as error:
        raise ImageError(f"{called}: {error}") from None


def _rows(faces: Detections) -> Floats:
    return np.concatenate([faces.boxes, faces.scores[:, None]], axis=1)
