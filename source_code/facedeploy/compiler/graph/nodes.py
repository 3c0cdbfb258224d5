"""Values and nodes. Nodes are in the order in which they can run; passes change them in place."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.compiler.kernels.blocked.direct import Window
from facedeploy.compiler.kernels.blocked.interpolation import Between
from facedeploy.compiler.kernels.blocked.planar import MAX_CHANNELS
from facedeploy.quantize.affine import Affine

FloatArray = npt.NDArray[np.float32]


@dataclass(eq=False)
class Value:
    """A tensor; `shape` is (N, C, H, W) for what convolutions read and write.

    `affine`, (C,) each, says what the integers of one that a `Quantize` makes stand for.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    affine: Affine | None = None


@dataclass(frozen=True)
class Part:
    """The channels [first, first + channels) of a value."""

    value: Value
    first: int
    channels: int


def multiply_adds(shape: tuple[int, ...], weights: FloatArray) -> int:
    """Of a direct convolution with weights OIHW whose output is of `shape`, but for the channels: (N, any, H, W)."""
    batch, _, height, width = shape
    return batch * height * width * weights.size


def whole(value: Value) -> Part:
    """All channels of a value."""
    return Part(value, 0, value.shape[1])


@dataclass(eq=False)
class Node:
    """Something that computes values."""

    outputs: list[Value]

    @property
    def inputs(self) -> list[Value]:
        """Values read, one entry a reading."""
        raise NotImplementedError


@dataclass(eq=False)
class Operator(Node):
    """Any Relax call, on planar tensors: `operands` in the call's order, `arguments` by Relax variable."""

    call: Any
    operands: list[Value]
    arguments: dict[Any, Value]

    @property
    def name(self) -> str:
        """Relax's name, such as `relax.nn.relu`; empty for what is no operator."""
        return str(getattr(getattr(self.call, "op", None), "name", ""))

    @property
    def inputs(self) -> list[Value]:
        """Values read, in the call's order."""
        return self.operands


@dataclass(eq=False)
class Elementwise(Operator):
    """A call for each pixel and channel, which can run on blocked tensors as well.

    Operands have the output's shape, or divide it in height and width. `numbers` are the call's; `channels`, if any, is
    (C,), an operand behind the others.
    """

    numbers: tuple[float, ...] = ()
    channels: FloatArray | None = None


@dataclass(eq=False)
class Pooling(Operator):
    """A pooling call, which can run on blocked tensors as well: `kind` as in `kernels.blocked.pooling`."""

    window: Window
    kind: str


@dataclass(eq=False)
class Interpolation(Operator):
    """A bilinear resizing call, which can run on blocked tensors as well."""

    rows: Between
    columns: Between


@dataclass(eq=False)
class Conversion(Node):
    """One tensor becomes another of the same shape."""

    source: Value

    @property
    def output(self) -> Value:
        """The one output."""
        return self.outputs[0]

    @property
    def inputs(self) -> list[Value]:
        """The one source."""
        return [self.source]


@dataclass(eq=False)
class Quantize(Conversion):
    """A float32 tensor -> u8, which its output's `affine` describes."""


@dataclass(eq=False)
class Dequantize(Conversion):
    """What a `Quantize` made -> float32."""


@dataclass(eq=False)
class Convolution(Node):
    """max(x, slope x) of a convolution plus bias; then + residual, and max(x, slope_after x).

    `sources` are concatenated along channels. Weights OIHW (depthwise: (C, 1, KH, KW)); slopes (O,), 1 for none.
    `layers` names the ONNX convolutions that it is made of, where that is known. `weight_scales` (O,): of what weights
    are integers times, if the model says so. One of u8 sources computes with these integers, and may yield u8.
    """

    sources: list[Part]
    weights: FloatArray
    bias: FloatArray
    window: Window
    depthwise: bool = False
    slopes: FloatArray = field(default_factory=lambda: np.ones(0, np.float32))
    residual: Value | None = None
    upsample: int = 1
    slope_after: float = 1.0
    layers: tuple[str, ...] = ()
    weight_scales: FloatArray | None = None

    def __post_init__(self) -> None:
        if not len(self.slopes):
            self.slopes = np.ones(len(self.bias), np.float32)

    @property
    def output(self) -> Value:
        """The one output."""
        return self.outputs[0]

    @property
    def inputs(self) -> list[Value]:
        """Sources and residual."""
        return [part.value for part in self.sources] + ([self.residual] if self.residual else [])

    @property
    def multiply_adds(self) -> int:
        """Of the direct algorithm, for the whole batch."""
        return multiply_adds(self.output.shape, self.weights)

    @property
    def integer(self) -> bool:
        """Whether it reads integers."""
        return self.sources[0].value.dtype != "float32"

    @property
    def plain(self) -> bool:
        """Nothing follows the bias yet."""
        return self.residual is None and self.slope_after == 1.0 and bool((self.slopes == 1.0).all())

    @property
    def pointwise(self) -> bool:
        """1x1, stride 1, no padding, dense."""
        return not self.depthwise and self.window == Window((1, 1))


@dataclass(eq=False)
class Separable(Node):
    """A depthwise convolution whose only reader is a pointwise one."""

    depthwise: Convolution
    pointwise: Convolution

    @property
    def inputs(self) -> list[Value]:
        """Source, and the residual of the pointwise part."""
        residual = self.pointwise.residual
        return self.depthwise.inputs + ([residual] if residual else [])

    @property
    def layers(self) -> tuple[str, ...]:
        """Of both."""
        return self.depthwise.layers + self.pointwise.layers

    @property
    def multiply_adds(self) -> int:
        """Of both."""
        return self.depthwise.multiply_adds + self.pointwise.multiply_adds


@dataclass(eq=False)
class Cascade(Node):
    """A chain in which each layer alone reads the one before: perhaps one that reads the image, then separable ones."""

    chain: list[Convolution | Separable]

    @property
    def inputs(self) -> list[Value]:
        """The source of the first one."""
        return self.chain[0].inputs

    @property
    def layers(self) -> tuple[str, ...]:
        """Of all."""
        return tuple(name for node in self.chain for name in node.layers)

    @property
    def multiply_adds(self) -> int:
        """Of all."""
        return sum(node.multiply_adds for node in self.chain)


@dataclass(eq=False)
class IntegerCascade(Node):
    """Dense convolutions of integers, each with the depthwise one that alone reads its floats; a chain of such pairs.

    Each pair alone reads the integers of the one before.
    """

    chain: list[tuple[Convolution, Convolution]]

    @property
    def inputs(self) -> list[Value]:
        """The source of the first one."""
        return self.chain[0][0].inputs

    @property
    def layers(self) -> tuple[str, ...]:
        """Of all."""
        return tuple(name for pair in self.chain for node in pair for name in node.layers)

    @property
    def multiply_adds(self) -> int:
        """Of all."""
        return sum(node.multiply_adds for pair in self.chain for node in pair)


@dataclass(eq=False)
class HeadLevel:
    """The sources of one level, with weights (O, I, 1, 1), and bias of all outputs one after the other.

    `weight_scales` as a Convolution has them.
    """

    sources: list[Part]
    weights: FloatArray
    bias: FloatArray
    weight_scales: FloatArray | None = None

    @property
    def multiply_adds(self) -> int:
        """Of the direct algorithm, for the whole batch."""
        return multiply_adds(self.sources[0].value.shape, self.weights)


@dataclass(eq=False)
class Heads(Node):
    """Pointwise convolutions of each level, written into outputs (N, rows, width).

    `channels`: of each output; `softmaxes`: whether its rows are two classes, whose probabilities it holds.
    """

    levels: list[HeadLevel]
    channels: list[int]
    softmaxes: list[bool]
    layers: tuple[str, ...] = ()

    @property
    def inputs(self) -> list[Value]:
        """Sources of every level."""
        return [part.value for level in self.levels for part in level.sources]

    @property
    def multiply_adds(self) -> int:
        """Of the direct algorithm, for the whole batch."""
        return sum(level.multiply_adds for level in self.levels)


@dataclass(eq=False)
class Graph:
    """One function: `inputs`, `nodes` in order, `outputs`."""

    inputs: list[Value]
    nodes: list[Node]
    outputs: list[Value]

    def readers(self, value: Value) -> list[Node]:
        """Nodes that read a value, once a reading."""
        return [node for node in self.nodes for read in node.inputs if read is value]

    def producer(self, value: Value) -> Node | None:
        """The node that makes a value; None for an input."""
        return next((node for node in self.nodes if value in node.outputs), None)

    def only_reader(self, value: Value) -> Node | None:
        """The one node that reads a value, once, if it is no output of the graph."""
        readers = self.readers(value)
        return readers[0] if len(readers) == 1 and value not in self.outputs else None

    def reads_planar(self, node: Convolution) -> bool:
        """Whether a convolution reads the tensor as it is: few channels, made by no convolution."""
        if node.depthwise or node.residual is not None or len(node.sources) != 1 or len(set(node.slopes.tolist())) != 1:
            return False
        producer = self.producer(node.sources[0].value)
        made_planar = producer is None or isinstance(producer, (Operator, Dequantize))
        return node.weights.shape[1] <= MAX_CHANNELS and made_planar and not node.integer

    def can_read_parts(self, value: Value) -> bool:
        """Whether every reader reads all of a value, and could read a part of another or several in its place."""
        return value not in self.outputs and all(
            isinstance(reader, Heads)
            or (isinstance(reader, Convolution) and not reader.depthwise and reader.residual is not value)
            for reader in self.readers(value)
        )

    def replace_source(self, value: Value, parts: list[Part]) -> None:
        """Let every convolution and head that reads `value` read `parts` instead, which hold the same channels."""
        for node in self.readers(value):
            lists = [node.sources] if isinstance(node, Convolution) else []
            lists += [level.sources for level in node.levels] if isinstance(node, Heads) else []
            for sources in lists:
                sources[:] = [new for part in sources for new in (parts if part.value is value else [part])]

    def remove_dead(self) -> None:
        """Drop nodes whose outputs nobody reads."""
        needed = set(map(id, self.outputs))
        kept = []
        for node in reversed(self.nodes):
            if any(id(value) in needed for value in node.outputs):
                needed.update(map(id, node.inputs))
                kept.append(node)
        self.nodes = kept[::-1]
