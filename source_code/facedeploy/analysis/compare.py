"""Where an artifact's numbers part from the float model's, layer by layer, and what becomes of the faces."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.analysis.compare_report import CompareReport, TensorError
from facedeploy.analysis.difference import Difference
from facedeploy.analysis.faces import FaceErrors
from facedeploy.analysis.float_model import FloatModel, Made
from facedeploy.artifact.manifest import Form
from facedeploy.core.errors import CompileError
from facedeploy.image.dataset import list_images, spread_evenly
from facedeploy.image.decode import read_image
from facedeploy.image.vdsp import preprocess
from facedeploy.quantize.factors_record import recorded_factors
from facedeploy.runtime.face_detector import letterbox_params
from facedeploy.runtime.memory import aligned
from facedeploy.runtime.model import Model

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Watched:
    """Channels [first, first + channels) that the call at `place` writes are those of `layer`."""

    place: int
    form: Form
    layer: str
    first: int
    channels: int


def compare(
    prefix: str | Path,
    onnx: Path,
    images: str | Path,
    *,
    count: int = 32,
    confidence: float = 0.5,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> CompareReport:
    """Run `count` images, spread evenly over a folder or list, through `.../mod` and the float ONNX it came from.

    A kernel's tensor is compared with the output of the convolution that it computes last, or with what element-wise
    operators behind it make of that: of these, the one that it is nearest to. Faces are those of the compiled
    post-processing, of score `confidence` or more, if there is one. `on_image(done, total)` is called after each.
    Raises what opening a Model raises, ImageError, DataError, and CompileError for a file that is not its float model.
    """
    model = Model.open(prefix)
    manifest = model.manifest
    found_files = list_images(images)
    files = [found_files[index].path for index in spread_evenly(len(found_files), count)]
    params = letterbox_params(model.artifact)
    floats = FloatModel(onnx, manifest.base.input, manifest.postprocess.head if manifest.postprocess else None)
    names = [spec.name for spec in manifest.base.outputs]
    if not set(names) <= set(floats.outputs):
        raise CompileError(
            f"--onnx: {onnx} has the outputs {', '.join(floats.outputs)}, the artifact {', '.join(names)}: give the "
            "file it was compiled from"
        )
    watched = list(_watched(model, floats, onnx))
    factors = recorded_factors(manifest.source.metadata)
    sums = {watch: {made: Difference() for made in floats.made[watch.layer]} for watch in watched}
    output_sums = {name: Difference() for name in names}
    faces = FaceErrors(confidence) if manifest.postprocess else None

    canvas = np.ndarray(manifest.base.input.shape, np.float32, aligned(manifest.base.input.bytes))
    trace = model.trace(canvas)
    by_place: dict[int, list[_Watched]] = {}
    for watch in watched:
        by_place.setdefault(watch.place, []).append(watch)
    for start in range(0, len(files), model.batch):
        chosen = files[start : start + model.batch]
        for index in range(model.batch):
            canvas[index] = preprocess(read_image(chosen[index % len(chosen)]), params)[0]
        wanted = floats.run(canvas)
        for place in trace.steps():
            for watch in by_place.get(place, ()):
                got = _values(np.from_dlpack(trace.tensors[place][-1]), watch) * _factor(factors, sums[watch])
                for made, difference in sums[watch].items():
                    expected = made.of(wanted, watch.channels)
                    if expected.shape == got.shape:
                        difference.add(got[: len(chosen)], expected[: len(chosen)])
        outputs = model.infer(canvas)
        for name, difference in output_sums.items():
            difference.add(outputs[name][: len(chosen)], wanted[name][: len(chosen)])
        if faces:
            found, expected_faces = model.detect(outputs), model.detect({name: wanted[name] for name in names})
            for index in range(len(chosen)):
                faces.add(found, expected_faces, index)
        on_image(start + len(chosen), len(files))

    layers = [_nearest(watch, found, manifest.base.calls[watch.place].kernel.name) for watch, found in sums.items()]
    return CompareReport(
        artifact=str(model.artifact.prefix),
        onnx=str(onnx),
        arithmetic=f"{manifest.arithmetic}, {manifest.weights}",
        images=len(files),
        layers=tuple(sorted(layers, key=lambda layer: layer.snr)),
        outputs=tuple(TensorError.of(name, name, difference, "") for name, difference in output_sums.items()),
        faces=faces,
    )


def _watched(model: Model, floats: FloatModel, onnx: Path) -> Iterator[_Watched]:
    for place, call in enumerate(model.rung.calls):
        missing = [layer for layer in call.kernel.layers if layer not in floats.made]
        if missing:
            raise CompileError(
                f"--onnx: {onnx} has no convolution {missing[0]}, which {model.artifact.prefix} computes: give the "
                "file it was compiled from"
            )
        form = call.kernel.writes
        if form:
            for layer, first in _parts(call.kernel.layers, floats.channels, form.channels):
                yield _Watched(place, form, layer, first, floats.channels[layer])


def _parts(layers: Sequence[str], channels: dict[str, int], total: int) -> list[tuple[str, int]]:
    """The last layers, which together make `total` channels, side by side; and the first channel of each."""
    found, first = list[tuple[str, int]](), total
    for layer in reversed(layers):
        first -= channels[layer]
        found.append((layer, first))
        if first <= 0:
            break
    return found[::-1] if first == 0 else []


def _values(buffer: npt.NDArray[Any], watch: _Watched) -> FloatArray:
    """What a blocked tensor holds of a layer: (N, C, H, W)."""
    form, halo = watch.form, watch.form.halo
    height, width = buffer.shape[2] - halo, buffer.shape[3] - halo
    inside = buffer[:, :, halo:height, halo:width].transpose(0, 1, 4, 2, 3)
    planar: FloatArray = inside.reshape(len(buffer), -1, *inside.shape[3:])[:, : form.channels].astype(np.float32)
    if form.scale:
        scale, zero_point = (
            np.broadcast_to(np.array(numbers, np.float32), form.channels)[:, None, None]
            for numbers in (form.scale, form.zero_point)
        )
        planar = (planar - zero_point) * scale
    return planar[:, watch.first : watch.first + watch.channels]


def _factor(factors: dict[str, FloatArray], layer: Iterable[Made]) -> Any:
    """What a layer's channels were divided by: (C, 1, 1), or 1."""
    return next((factors[made.tensor][:, None, None] for made in layer if made.tensor in factors), np.float32(1))


def _nearest(watch: _Watched, differences: Mapping[Made, Difference], kernel: str) -> TensorError:
    made, difference = max(differences.items(), key=lambda entry: entry[1].snr)
    return TensorError.of(watch.layer, made.tensor, difference, kernel)
