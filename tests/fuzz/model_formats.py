"""Files of models that importers read, each with small valid ones."""

from pathlib import Path

import numpy as np
import onnx.checker  # noqa: F401  (Every import of a net needs it: not to be counted as what the first one takes.)
from caffe_net import caffemodel_bytes
from judge import Format
from mutations import BYTES, TEXT

from facedeploy.importers.caffe.to_onnx import import_caffe
from facedeploy.importers.mxnet.import_mxnet import import_mxnet
from facedeploy.quantize.calibration_table import read_calibration_table

MXNET_SHAPE = (2, 3, 9, 7)
CAFFE_SHAPE = (1, 3, 16, 12)
CAFFE_NET = b"""
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"  # Half the size.
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 bias_term: false } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" batch_norm_param { eps: 1e-05 } }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "bn" top: "bn" relu_param { negative_slope: 0.1 } }
layer { name: "pool" type: "Pooling" bottom: "bn" top: "pool" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "up" type: "Deconvolution" bottom: "pool" top: "up"
  convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 group: 4 bias_term: false } }
layer { name: "crop" type: "Crop" bottom: "up" bottom: "bn" top: "crop" crop_param { axis: 2 offset: 0 } }
layer { name: "sum" type: "Eltwise" bottom: "bn" bottom: "crop" top: "sum" eltwise_param { operation: SUM } }
layer { name: "cat" type: "Concat" bottom: "sum" bottom: "up" top: "cat" concat_param { axis: 1 } }
layer { name: "score" type: "Convolution" bottom: "cat" top: "score"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "pairs" type: "Reshape" bottom: "score" top: "pairs"
  reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } } }
layer { name: "soft" type: "Softmax" bottom: "pairs" top: "soft" softmax_param { axis: 1 } }
layer { name: "turned" type: "Permute" bottom: "soft" top: "turned" permute_param { order: 0 order: 2 } }
layer { name: "flat" type: "Flatten" bottom: "turned" top: "flat" flatten_param { axis: 1 end_axis: 2 } }
"""
CAFFE_BLOBS = {
    "conv": [(4, 3, 3, 3)],
    "bn": [(4,), (4,), (1,)],
    "scale": [(4,), (4,)],
    "up": [(4, 1, 4, 4)],
    "score": [(4, 8, 1, 1), (4,)],
}
TABLE = b"TRT-5102-EntropyCalibration2\ndata: 40008ef7\nconv/relu 1: 3c010a14\nsum: 0\n"


def model_formats(folder: Path, repository: Path) -> list[Format]:
    """MXNet's and Caffe's two files of a net, either beside the other as it should be; and a table of ranges."""
    folder.mkdir()
    table = Format("calibration table", folder / "net.table", (TABLE,), read_calibration_table, TEXT)
    return [*_mxnet(folder, repository / "tests/importers/mxnet/golden"), *_caffe(folder), table]


def _mxnet(folder: Path, golden: Path) -> list[Format]:
    symbol, params = ((golden / name).read_bytes() for name in ("net-symbol.json", "net-0000.params"))
    for name, content in (("whole-symbol.json", symbol), ("whole-0000.params", params)):
        (folder / name).write_bytes(content)

    def read_symbol(path: Path) -> None:
        import_mxnet(path, folder / "whole-0000.params", MXNET_SHAPE)

    def read_params(path: Path) -> None:
        import_mxnet(folder / "whole-symbol.json", path, MXNET_SHAPE)

    return [
        Format("MXNet symbol", folder / "net-symbol.json", (symbol,), read_symbol, named=str(folder)),
        Format("MXNet params", folder / "net-0000.params", (params,), read_params, BYTES),
    ]


def _caffe(folder: Path) -> list[Format]:
    random = np.random.default_rng(0)
    blobs = {name: [random.uniform(0.5, 1.5, shape) for shape in shapes] for name, shapes in CAFFE_BLOBS.items()}
    whole = caffemodel_bytes(blobs)
    (folder / "whole.prototxt").write_bytes(CAFFE_NET)
    (folder / "whole.caffemodel").write_bytes(whole)

    def read_prototxt(path: Path) -> None:
        import_caffe(path, folder / "whole.caffemodel", CAFFE_SHAPE)

    def read_caffemodel(path: Path) -> None:
        import_caffe(folder / "whole.prototxt", path, CAFFE_SHAPE)

    models = (whole, caffemodel_bytes(blobs, legacy=True), caffemodel_bytes(blobs, double=True))
    return [
        Format("prototxt", folder / "net.prototxt", (CAFFE_NET,), read_prototxt, TEXT, str(folder)),
        Format("caffemodel", folder / "net.caffemodel", models, read_caffemodel, BYTES),
    ]
