"""Figures of one comparison with the float model, for a file and for a person."""

from dataclasses import asdict, dataclass
from math import isfinite
from statistics import mean
from typing import Any

from facedeploy.analysis.difference import Difference
from facedeploy.analysis.faces import FaceErrors
from facedeploy.core.table import aligned


@dataclass(frozen=True)
class TensorError:
    """`layer`: a convolution, or an output. `tensor`: the float model's that it is compared with. `snr` in dB."""

    layer: str
    tensor: str
    snr: float
    cosine: float
    kernel: str

    @classmethod
    def of(cls, layer: str, tensor: str, difference: Difference, kernel: str) -> "TensorError":
        """From the sums over all images."""
        return cls(layer, tensor, difference.snr, difference.cosine, kernel)

    def to_json(self) -> dict[str, Any]:
        """An SNR that is no number, because nothing differs, is null."""
        return {**asdict(self), "snr": self.snr if isfinite(self.snr) else None}


@dataclass(frozen=True)
class CompareReport:
    """`layers`: those whose tensors a kernel writes, the worst first. `faces` is None without a post-processing."""

    artifact: str
    onnx: str
    arithmetic: str
    images: int
    layers: tuple[TensorError, ...]
    outputs: tuple[TensorError, ...]
    faces: FaceErrors | None

    def to_json(self) -> dict[str, Any]:
        """For a JSON file: everything; of the faces their means."""
        return {
            "artifact": self.artifact,
            "onnx": self.onnx,
            "arithmetic": self.arithmetic,
            "images": self.images,
            "layers": [layer.to_json() for layer in self.layers],
            "outputs": [output.to_json() for output in self.outputs],
            "faces": _means(self.faces) if self.faces else None,
        }

    def lines(self) -> list[str]:
        """For a person."""
        head = ["SNR dB", "cosine", "layer", "compared with", "kernel"]
        rows = [
            [f"{error.snr:.1f}", f"{error.cosine:.6f}", error.layer, error.tensor, error.kernel]
            for error in (*self.layers, *self.outputs)
        ]
        tables = aligned([head, *rows], left={2, 3, 4})
        return [
            f"{self.artifact}: {self.arithmetic}; {self.images} images against {self.onnx}, float32 in onnxruntime",
            "",
            *tables[: len(self.layers) + 1],
            "",
            *tables[len(self.layers) + 1 :],
            *(["", _face_line(self.faces)] if self.faces else []),
        ]


def _means(faces: FaceErrors) -> dict[str, Any]:
    return {
        "confidence": faces.confidence,
        "expected": faces.expected,
        "matched": faces.matched,
        "iou": mean(faces.ious) if faces.ious else None,
        "score_error": mean(faces.score_errors) if faces.score_errors else None,
        "landmark_nme": mean(faces.landmark_errors) if faces.landmark_errors else None,
    }


def _face_line(faces: FaceErrors) -> str:
    found = f"faces   {faces.matched} of the float model's {faces.expected} of score {faces.confidence:g} or more found"
    if not faces.matched:
        return found
    means = f"{found}; means: IoU {mean(faces.ious):.4f}, score off by {mean(faces.score_errors):.4f}"
    if not faces.landmark_errors:
        return means
    return f"{means}, landmarks by {100 * mean(faces.landmark_errors):.2f} % of the side of the box (NME)"
