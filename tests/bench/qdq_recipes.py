"""QDQ models as users of the peers make them: onnxruntime's own quantization tools, by recipes with a name.

What is fast depends on the peer and the CPU: zero points cost a sum over the inputs, scales a channel cost nothing in
most kernels, and an operator left in float costs two conversions or, where the peer fuses it, none. So the benchmark
runs them all. They are made for speed alone, ranges by MinMax; nobody measures how accurate they are.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facedeploy.quantize.samples import CalibrationSet


@dataclass(frozen=True)
class Recipe:
    """`symmetric` activations are s8 with a zero point of 0, others u8 with any; weights are always symmetric s8.

    `operators` are the types of ONNX operators that become int8, None for all that onnxruntime can.
    """

    operators: tuple[str, ...] | None
    symmetric: bool
    per_channel: bool


RECIPES = {
    "conv-symmetric": Recipe(("Conv",), symmetric=True, per_channel=True),
    "conv-asymmetric": Recipe(("Conv",), symmetric=False, per_channel=True),
    "joined-asymmetric": Recipe(("Conv", "Concat", "Resize"), symmetric=False, per_channel=True),
    "all-asymmetric": Recipe(None, symmetric=False, per_channel=True),
    "all-symmetric-tensor": Recipe(None, symmetric=True, per_channel=False),
}


class _Reader:
    """onnxruntime's CalibrationDataReader of our calibration images."""

    def __init__(self, name: str, samples: CalibrationSet) -> None:
        self._feeds: Iterator[dict] = ({name: samples[index][np.newaxis]} for index in range(len(samples)))

    def get_next(self) -> dict | None:
        return next(self._feeds, None)


def quantize_by_recipes(onnx_file: Path, samples: CalibrationSet, folder: Path) -> dict[str, Path]:
    """The name of each recipe, and the QDQ file in `folder` that it makes of a float model with static shapes."""
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.getLogger().setLevel(logging.ERROR)  # The tools warn of every tensor that they leave in float.
    prepared = folder / "prepared.onnx"
    quant_pre_process(onnx_file, prepared, skip_symbolic_shape=True)  # That is for shapes that are not static.
    name = onnx.load(prepared).graph.input[0].name
    files = {}
    for title, recipe in RECIPES.items():
        files[title] = folder / f"{title}.onnx"
        quantize_static(
            prepared,
            files[title],
            _Reader(name, samples),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=None if recipe.operators is None else list(recipe.operators),
            per_channel=recipe.per_channel,
            activation_type=QuantType.QInt8 if recipe.symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"ActivationSymmetric": recipe.symmetric},
        )
    return files
