"""The float model runs on images, and the range of each tensor is found."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from facedeploy.config.build_config import CalibrateMode, QuantizeOptions
from facedeploy.core.cores import available_cores
from facedeploy.core.errors import CompileError, DataError
from facedeploy.core.requirement import require
from facedeploy.image.operations import Tensor
from facedeploy.quantize.calibration import Calibration, TensorRange
from facedeploy.quantize.fold import fold
from facedeploy.quantize.graph import Array, Graph
from facedeploy.quantize.histogram import Extent, Float64, Histogram
from facedeploy.quantize.kl_divergence import kl_divergence_range
from facedeploy.quantize.moments import MomentSums
from facedeploy.quantize.mse import mse_range
from facedeploy.quantize.percentile import percentile_range
from facedeploy.quantize.placement import observed_tensors

BINS = 2048
Progress = Callable[[int, int], None]

# What each mode makes of a histogram; minmax takes the extent as it is, and needs none.
METHODS: Mapping[CalibrateMode, Callable[[Histogram], tuple[Float64, Float64]]] = {
    "percentile": percentile_range,
    "kl_divergence": kl_divergence_range,
    "mse": mse_range,
}


class Samples(Protocol):
    """Images as the model takes them, (3, H, W) float32, one at a time."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tensor: ...


def calibrate(
    model: Any,
    samples: Samples,
    options: QuantizeOptions,
    *,
    content_hash: str = "",
    on_image: Progress = lambda done, total: None,
) -> Calibration:
    """Run a float onnx.ModelProto in onnxruntime on all samples; what `insert_qdq` needs to know of its tensors.

    Each channel has a range of its own with `quantize_per_channel`, else each tensor. All but minmax run the images
    twice: for the extent, then for histograms of it. `content_hash` is for the table. `on_image(done, total)` is called
    after each. Raises DataError: no samples, one of a wrong shape, or a value that is not finite; CompileError when
    onnxruntime cannot run the model; DependencyError without it.
    """
    if not len(samples):
        raise DataError("dataset: there is no image to calibrate with")
    mode = calibrate_mode(options)
    folded = fold(model)
    moments = MomentSums(folded)
    probe = _Probe(folded)
    passes = 1 if mode == "minmax" else 2
    done = 0

    def observed() -> Iterator[dict[str, Tensor]]:
        nonlocal done
        for index in range(0, len(samples), probe.batch):
            count = min(probe.batch, len(samples) - index)
            yield probe.run([samples[index + offset] for offset in range(count)])
            done += count
            on_image(done, passes * len(samples))

    extents: dict[str, Extent] = {}
    for tensors in observed():
        for name, tensor in tensors.items():
            if not np.isfinite(tensor).all():
                raise DataError(f"frontend.checkpoint: {name} is not finite for a calibration image, it has no range")
            values = _rows(tensor, options.quantize_per_channel)
            extents.setdefault(name, Extent(len(values))).add(values)
        moments.add(tensors)
    if mode == "minmax":
        found = {name: (extent.low, extent.high) for name, extent in extents.items()}
    else:
        histograms = {name: Histogram(extent, BINS) for name, extent in extents.items()}
        for tensors in observed():
            for name, tensor in tensors.items():
                histograms[name].add(_rows(tensor, options.quantize_per_channel))
        found = {name: METHODS[mode](histogram) for name, histogram in histograms.items()}
    ranges = {name: TensorRange(tuple(low.tolist()), tuple(high.tolist())) for name, (low, high) in found.items()}
    return Calibration(mode, len(samples), content_hash, ranges, moments.moments())


def calibrate_mode(options: QuantizeOptions) -> CalibrateMode:
    """The mode by its own name: max is another one of minmax."""
    return "minmax" if options.calibrate_mode == "max" else options.calibrate_mode


def _rows(tensor: Tensor, per_channel: bool) -> Tensor:
    """(N, C, ...) -> (C, n), or (1, n) for all channels together."""
    if not per_channel:
        return tensor.reshape(1, -1)
    return np.moveaxis(tensor, 1, 0).reshape(tensor.shape[1], -1)


class _Probe:
    """The model with every observed tensor as an output."""

    def __init__(self, model: Any) -> None:
        onnxruntime = require("onnxruntime", "compile", "Calibrating a model")
        from onnx import helper

        graph = Graph.of(model)
        self._input, self._names = graph.inputs[0].name, observed_tensors(graph)
        self._shape = [side.dim_value for side in graph.inputs[0].type.tensor_type.shape.dim]
        self.batch = self._shape[0] or 1
        del model.graph.output[:]
        model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in self._names)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = available_cores(), 1
        options.log_severity_level = 3  # Errors: it has much to say of models otherwise.
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            # onnxruntime raises types of its own, which share no base.
            reason = str(error).splitlines()[0]
            raise CompileError(
                f"frontend.checkpoint: onnxruntime cannot run the model to calibrate it: {reason}"
            ) from error

    def run(self, images: list[Tensor]) -> dict[str, Tensor]:
        """The observed tensors (n, ...) for n images, at most a batch of them."""
        for image in images:
            expected = [wanted or got for wanted, got in zip(self._shape[1:], image.shape, strict=True)]
            if list(image.shape) != expected:
                raise DataError(
                    f"dataset.process_ops: they make a tensor of {list(image.shape)} of an image, the model takes "
                    f"{expected}: let them end in a canvas of that size"
                )
        batch = np.stack([images[index % len(images)] for index in range(self.batch)])
        outputs: list[Array] = self._session.run(list(self._names), {self._input: batch})
        return {name: output[: len(images)] for name, output in zip(self._names, outputs, strict=True)}
