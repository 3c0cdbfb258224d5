"""Ranges that another tool found: a calibration table as TensorRT writes it, in place of images to calibrate with."""

import hashlib
import math
import re
import struct
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from facedeploy.core.errors import DataError
from facedeploy.core.shown import shown
from facedeploy.quantize.affine import WEIGHT_LEVELS
from facedeploy.quantize.calibration import Calibration, TensorRange
from facedeploy.quantize.fold import fold
from facedeploy.quantize.graph import Graph
from facedeploy.quantize.moments import Moments, in_blocks
from facedeploy.quantize.placement import becomes_integer, carried_from, quantized_tensors
from facedeploy.quantize.weights import weights_of

MAX_BYTES = 1 << 24
STEPS = WEIGHT_LEVELS  # Of a scale, from 0 to the end of the range.
HEADER = re.compile(r"TRT-\d+-\w+")
ENTRY = re.compile(r"(?P<tensor>.+): ?(?P<scale>[0-9a-fA-F]{1,8})")
KEY = "backend.quantize.ranges"
MOST_NAMED = 5


def read_calibration_table(path: Path) -> dict[str, float]:
    """The scale of each tensor, of 127 steps to either side of 0.

    A first line names the algorithm (`TRT-5102-EntropyCalibration2`), each other is `tensor: hex`, the big-endian bytes
    of a float32. Raises DataError, which names the line, for any other file.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{KEY}: {path} is {size:,} bytes, which is no calibration table")
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{KEY}: {path} is not text, expected a TensorRT calibration table") from None
    except OSError as error:
        raise DataError(f"{KEY}: {path} cannot be read ({error.strerror})") from None
    if not lines or not HEADER.fullmatch(lines[0].strip()):
        got = shown(lines[0]) if lines else "nothing"
        raise DataError(
            f"{KEY}: {path} is no TensorRT calibration table: line 1 is {got}, expected one such as "
            "TRT-5102-EntropyCalibration2"
        )
    scales: dict[str, float] = {}
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        entry = ENTRY.fullmatch(line.strip())
        if entry is None:
            raise DataError(f"{KEY}: {path}: line {number}: got {shown(line)}, expected tensor: hexadecimal digits")
        tensor = entry["tensor"]
        (scale,) = struct.unpack(">f", bytes.fromhex(entry["scale"].zfill(8)))
        if not 0 <= scale * STEPS < math.inf:
            raise DataError(f"{KEY}: {path}: line {number}: {shown(tensor)} has the scale {scale}, expected one from 0")
        if tensor in scales:
            raise DataError(f"{KEY}: {path}: line {number}: {shown(tensor)} is there a second time")
        scales[tensor] = scale
    return scales


def table_calibration(
    model: Any, path: Path, skipped: Collection[int], note: Callable[[str], None] = lambda _: None
) -> tuple[Calibration, frozenset[int]]:
    """What `insert_qdq` needs to know of the tensors of a float onnx.ModelProto, from a table of their names.

    Also the indices of convolutions, among those not in `skipped`, for which the table lacks a tensor: these are to
    stay float. A range is as wide on either side of 0, but begins at 0 behind a Relu. Nothing is known of what
    convolutions read, so that each weight is rounded to the nearest. `note` is told how many tensors have a name in the
    table. Raises DataError: not a table, or one that names none of the tensors.
    """
    scales = read_calibration_table(path)
    graph = Graph.of(fold(model))
    convolutions = [node for node in graph.nodes if node.op_type == "Conv"]
    every = frozenset(range(len(convolutions)))
    needed = {
        index: {_source(graph, tensor) for tensor in quantized_tensors(graph, every - {index})}
        for index in sorted(every.difference(skipped))
        if becomes_integer(graph, convolutions[index])
    }
    tensors = list(dict.fromkeys(tensor for each in needed.values() for tensor in sorted(each)))
    named = [tensor for tensor in tensors if tensor in scales]
    if tensors and not named:
        raise DataError(
            f"{KEY}: {path} has none of the {len(tensors)} tensors that would become integers, such as "
            f"{shown(tensors[0])}: it is of another model"
        )
    lacking = frozenset(index for index, each in needed.items() if not each <= scales.keys())
    others = [shown(tensor) for tensor in tensors if tensor not in scales]
    stay = f"; {len(lacking)} convolutions that need the others stay float: {_listed(others)}" if others else ""
    note(f"{KEY}: {path} has the ranges of {len(named)} of {len(tensors)} tensors{stay}")
    return (
        Calibration(
            "table",
            0,
            hashlib.sha256(path.read_bytes()).hexdigest(),
            {tensor: _range(graph, tensor, scales[tensor]) for tensor in named},
            {index: _unknown_moments(graph, convolutions[index]) for index in needed},
        ),
        lacking,
    )


def _source(graph: Graph, tensor: str) -> str:
    """What a tensor's values are picked from in the end."""
    source = carried_from(graph, tensor)
    return tensor if source is None else _source(graph, source)


def _range(graph: Graph, tensor: str, scale: float) -> TensorRange:
    end = scale * STEPS
    producer = graph.producers.get(tensor)
    return TensorRange((0.0 if producer is not None and producer.op_type == "Relu" else -end,), (end,))


def _unknown_moments(graph: Graph, convolution: Any) -> Moments:
    """Of inputs that are as likely to be anything: no weight can make up for another."""
    weights = weights_of(graph, convolution)
    blocks, size = in_blocks(np.zeros((weights.groups, weights.weight[0].size), np.float32)).shape
    return Moments(
        np.zeros((blocks, size), np.float32), np.broadcast_to(np.eye(size, dtype=np.float32), (blocks, size, size))
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
