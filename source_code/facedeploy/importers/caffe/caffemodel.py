"""The parameters in a .caffemodel: a protobuf message, of which only these fields are looked at."""

from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.core.errors import CheckpointError
from facedeploy.core.requirement import require
from facedeploy.core.shown import shown

MAX_AXES = 32
MAX_BYTES = 1 << 31  # What protobuf itself can read.

# Message: field: (number, type, whether it is repeated). Names as Caffe has them.
SCHEMA = {
    "BlobShape": {"dim": (1, "INT64", True)},
    "BlobProto": {
        "num": (1, "INT64", False),
        "channels": (2, "INT64", False),
        "height": (3, "INT64", False),
        "width": (4, "INT64", False),
        "data": (5, "FLOAT", True),
        "shape": (7, "BlobShape", False),
        "double_data": (8, "DOUBLE", True),
    },
    # Bytes in place of texts, since what is no UTF-8 shall be an error of ours.
    "LayerParameter": {"name": (1, "BYTES", False), "blobs": (7, "BlobProto", True)},
    "NetParameter": {"layers": (2, "BYTES", True), "layer": (100, "LayerParameter", True)},
}


@dataclass(frozen=True, eq=False)
class Blob:
    """float32 numbers; `legacy` if its shape is the four sides that every blob had once."""

    array: npt.NDArray[np.float32]
    legacy: bool

    def shaped(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32] | None:
        """The numbers in the shape wanted, if it is the blob's: a legacy one has sides of 1 in front."""
        fits = self.array.shape == shape
        if self.legacy and len(shape) < self.array.ndim:
            fits = self.array.shape == (1,) * (self.array.ndim - len(shape)) + shape
        return self.array.reshape(shape) if fits else None


def read_caffemodel(path: Path) -> dict[str, tuple[Blob, ...]]:
    """The blobs of each layer that has any, by its name.

    Raises CheckpointError: unreadable, damaged, in the format before 2014, or a blob whose numbers are not those that
    its shape says, or not finite; DependencyError without protobuf.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size < MAX_BYTES else b""
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    if not content:
        raise CheckpointError(f"{path}: is {size:,} bytes, expected the parameters of a Caffe net (.caffemodel)")
    require("google.protobuf", "compile", "Reading a .caffemodel")
    from google.protobuf.message import DecodeError

    net = _net_parameter()()
    try:
        net.ParseFromString(content)
    except (DecodeError, RecursionError):
        raise CheckpointError(f"{path}: is damaged, or is no .caffemodel: protobuf cannot read it") from None
    if net.layers:
        raise CheckpointError(
            f"{path}: is in the format of Caffe before 2014 (layers): rewrite it with Caffe's upgrade_net_proto_binary"
        )
    if not net.layer:
        raise CheckpointError(f"{path}: has no layers, expected the parameters of a Caffe net (.caffemodel)")
    found: dict[str, tuple[Blob, ...]] = {}
    for layer in net.layer:
        if not layer.blobs:
            continue
        try:
            name = layer.name.decode()
        except UnicodeDecodeError:
            raise CheckpointError(f"{path}: is damaged: the name {layer.name[:40]!r} is not UTF-8") from None
        if name in found:
            raise CheckpointError(f"{path}: has parameters of two layers that are called {shown(name)}")
        found[name] = tuple(
            _blob(blob, f"{path}: blob {index} of the layer {shown(name)}") for index, blob in enumerate(layer.blobs)
        )
    return found


def _blob(blob: Any, called: str) -> Blob:
    legacy = not blob.HasField("shape")
    sides = (blob.num, blob.channels, blob.height, blob.width) if legacy else tuple(blob.shape.dim)
    numbers = blob.double_data if blob.double_data else blob.data
    if len(sides) > MAX_AXES or any(side < 0 for side in sides) or prod(sides) != len(numbers):
        raise CheckpointError(f"{called} has {len(numbers)} numbers for the shape {shown(str(list(sides)))}")
    with np.errstate(over="ignore", invalid="ignore"):
        array = np.fromiter(numbers, np.float64 if blob.double_data else np.float32, len(numbers)).astype(np.float32)
    if not np.isfinite(array).all():
        raise CheckpointError(f"{called} has numbers that are not finite")
    return Blob(array.reshape(sides), legacy)


@cache
def _net_parameter() -> Any:
    """The class of the message, made of `SCHEMA` in a pool of its own."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    fields = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="facedeploy/caffe.proto", package="caffe", syntax="proto2")
    for name, entries in SCHEMA.items():
        message = file.message_type.add(name=name)
        for key, (number, kind, repeated) in entries.items():
            label = fields.LABEL_REPEATED if repeated else fields.LABEL_OPTIONAL
            field = message.field.add(name=key, number=number, label=label)
            if kind in SCHEMA:
                field.type, field.type_name = fields.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                field.type = fields.Type.Value(f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))
