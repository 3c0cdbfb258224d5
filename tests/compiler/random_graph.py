"""Random ONNX graphs of a face detector's operators: small, odd in every size, with branches and several outputs."""

import math
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int, ...]

CHANNELS = [1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 24, 32, 33, 48]
KERNELS = [(1, 1), (1, 1), (3, 3), (3, 3), (3, 3), (2, 2), (1, 3), (3, 1), (5, 5), (7, 7)]
STRIDES = [(1, 1), (1, 1), (1, 1), (2, 2), (2, 1), (1, 2), (3, 3)]
LARGEST_SIDE, LARGEST_TENSOR = 40, 30_000
OPSETS = [9, 11, 12, 13, 17, 18]


class RandomGraph:
    """Grows a graph node by node from a seed. Every tensor is (N, C, H, W) until `finish` makes outputs of some."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset = int(self.rng.choice(OPSETS))
        self.shape = self.integer(1, 3), int(self.rng.choice([1, 3, 3, 4, 6])), self.integer(5, 25), self.integer(5, 25)
        self.tensors: dict[str, Shape] = {"input": self.shape}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.constants: dict[str, onnx.ValueInfoProto] = {}
        self.arrays: dict[str, onnx.TensorProto] = {}

    def model(self, steps: int) -> onnx.ModelProto:
        """The whole graph: so many steps, then outputs."""
        kinds = [
            *[self.block] * 6,
            *[self.residual, self.pyramid, self.branches, self.separable],
            *[
                self.pool,
                self.pool,
                self.pool,
                self.resize,
                self.concat,
                self.add,
                self.activation,
                self.activation,
                self.arithmetic,
            ],
            *[self.split, self.slice, self.pad, self.transpose, self.identity, self.transposed, self.gate, self.norm],
        ]
        for _ in range(steps):
            self.one_of(kinds)(self.pick())
        outputs = self.finish()
        graph = helper.make_graph(
            self.nodes,
            "graph",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, list(self.shape))],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(self.tensors[name])) for name in outputs],
            self.initializers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    # What everything is made of.

    def integer(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, of: float) -> bool:
        return bool(self.rng.random() < of)

    def one_of(self, choices: list[Any]) -> Any:
        return choices[self.integer(0, len(choices) - 1)]

    def pick(self) -> str:
        """A tensor of rank 4, more likely one of the last."""
        names = [name for name, shape in self.tensors.items() if len(shape) == 4]
        return names[-1 - min(int(self.rng.exponential(1.2)), len(names) - 1)]

    def alike(self, name: str, axis: int | None = None) -> str:
        """A tensor of the same shape, but for one axis."""
        shape = self.tensors[name]
        same = [
            other
            for other, sides in self.tensors.items()
            if len(sides) == len(shape)
            and all(a == b for i, (a, b) in enumerate(zip(sides, shape, strict=True)) if i != axis)
        ]
        return str(self.one_of(same))

    def emit(self, kind: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> str:
        """Add a node; ONNX says what shape its output has. Returns the (first) output's name."""
        names = [f"{kind.lower()}_{len(self.nodes)}" + (f"_{index}" if index else "") for index in range(outputs)]
        node = helper.make_node(kind, inputs, names, name=names[0], **attributes)
        known = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(self.tensors[name]))
            for name in dict.fromkeys(inputs)
            if name in self.tensors
        ]
        graph = helper.make_graph(
            [node],
            "node",
            known,
            [helper.make_value_info(name, helper.make_tensor_type_proto(TensorProto.FLOAT, None)) for name in names],
            [self.arrays[name] for name in dict.fromkeys(inputs) if name in self.arrays],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        shapes = [tuple(side.dim_value for side in each.type.tensor_type.shape.dim) for each in inferred.graph.output]
        if any(side < 1 or side > 4 * LARGEST_TENSOR for shape in shapes for side in shape):
            return inputs[0]  # It does not fit: as if it had not been asked for.
        self.nodes.append(node)
        self.tensors.update(zip(names, shapes, strict=True))
        return names[0]

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        """A constant, as an initializer or as a node."""
        name = f"constant_{len(self.arrays)}"
        self.arrays[name] = numpy_helper.from_array(np.asarray(array, dtype), name)
        if self.chance(0.7):
            self.initializers.append(self.arrays[name])
        else:
            self.nodes.append(helper.make_node("Constant", [], [name], value=self.arrays[name]))
        return name

    def weight(self, *shape: int) -> str:
        fan_in = max(1, math.prod(shape[1:]))
        return self.constant(self.rng.normal(0, fan_in**-0.5, shape))

    def per_channel(self, channels: int, low: float, high: float) -> str:
        shape = self.one_of([(1, channels, 1, 1), (channels, 1, 1)])
        return self.constant(self.rng.uniform(low, high, shape))

    # Convolutions and what stands behind them.

    def block(self, name: str) -> str:
        """A convolution, perhaps with a normalization and an activation."""
        channels = self.tensors[name][1]
        kind = self.one_of(["dense", "dense", "dense", "depthwise", "grouped"])
        outputs = int(self.rng.choice(CHANNELS))
        groups = 1
        if kind == "depthwise":
            groups, outputs = channels, channels * self.one_of([1, 1, 1, 2])
        if kind == "grouped":
            groups = self.one_of([g for g in range(1, channels + 1) if channels % g == 0])
            outputs = groups * self.integer(1, max(1, 24 // groups))
        return self.finish_block(self.convolution(name, outputs, groups))

    def finish_block(self, name: str) -> str:
        if self.chance(0.3):
            name = self.norm(name)
        elif self.chance(0.2):
            name = self.arithmetic(name)
        return self.activation(name) if self.chance(0.7) else name

    def convolution(self, name: str, outputs: int, groups: int = 1, **fixed: Any) -> str:
        _, channels, *sides = self.tensors[name]
        attributes: dict[str, Any] = {"strides": list(self.one_of(STRIDES))}
        kernel = self.one_of(KERNELS)
        dilation = (2, 2) if self.chance(0.1) else (1, 1)
        extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        padding = self.one_of(["same", "same", "same", "any", "auto", "none"])
        if padding == "none" and any(e > side for e, side in zip(extent, sides, strict=True)):
            padding = "same"
        if padding == "same":
            attributes["pads"] = [e // 2 for e in extent] * 2
        elif padding == "any":
            attributes["pads"] = [e // 2 + self.integer(0, 1) for e in extent + extent]
        elif padding == "auto":
            attributes["auto_pad"] = self.one_of(["SAME_UPPER", "SAME_LOWER"])
            dilation = (1, 1)  # onnxruntime takes no other with it.
        attributes |= {"kernel_shape": list(kernel), "dilations": list(dilation)} | fixed
        inputs = [name, self.weight(outputs, channels // groups, *attributes["kernel_shape"])]
        if self.chance(0.6):
            inputs.append(self.constant(self.rng.normal(0, 0.3, outputs)))
        return self.emit("Conv", inputs, group=groups, **attributes)

    def same(self, name: str, outputs: int, kernel: int = 3, groups: int = 1, stride: int = 1) -> str:
        """The convolution that detectors have most of."""
        pads, strides = [kernel // 2] * 4, [stride, stride]
        return self.convolution(
            name, outputs, groups, kernel_shape=[kernel] * 2, pads=pads, strides=strides, dilations=[1, 1],
            auto_pad="NOTSET",
        )  # fmt: skip

    def transposed(self, name: str) -> str:
        _, channels, height, width = self.tensors[name]
        if max(height, width) * 2 > LARGEST_SIDE:
            return name
        groups = channels if self.chance(0.3) else 1
        kernel, stride = self.one_of([(2, 2), (3, 2), (4, 2), (3, 1), (2, 1)])
        outputs = groups if groups > 1 else self.integer(1, 9)
        inputs = [name, self.weight(channels, outputs // groups, kernel, kernel)]
        if self.chance(0.5):
            inputs.append(self.weight(outputs))
        pads = [self.integer(0, kernel - stride) // 2] * 4
        extra = [self.integer(0, stride - 1)] * 2
        return self.emit("ConvTranspose", inputs, group=groups, strides=[stride] * 2, pads=pads, output_padding=extra)

    def norm(self, name: str) -> str:
        channels = self.tensors[name][1]
        scale, bias, mean, variance = (
            self.constant(self.rng.uniform(low, high, channels))
            for low, high in ((-1.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.2, 2))
        )
        return self.emit("BatchNormalization", [name, scale, bias, mean, variance], epsilon=1e-3)

    def separable(self, name: str) -> str:
        channels = self.tensors[name][1]
        depth = self.same(name, channels, groups=channels, stride=self.integer(1, 2))
        return self.finish_block(self.same(self.finish_block(depth), int(self.rng.choice(CHANNELS)), kernel=1))

    def residual(self, name: str) -> str:
        channels = self.tensors[name][1]
        inner = self.finish_block(self.same(name, int(self.rng.choice(CHANNELS)), kernel=self.one_of([1, 3])))
        return self.activation(self.sum(name, self.same(inner, channels)))

    def pyramid(self, name: str) -> str:
        """Two levels: the lower one enlarged and added."""
        channels = self.one_of([8, 16, 17])
        high = self.finish_block(self.same(name, channels, kernel=1))
        low = self.finish_block(self.same(name, channels, stride=2))
        enlarged = self.enlarge(low, self.tensors[high])
        return self.finish_block(self.same(self.sum(high, enlarged), channels))

    def branches(self, name: str) -> str:
        """SSH's module: three depths, concatenated."""
        channels = self.one_of([4, 8, 16])
        first = self.same(name, 2 * channels)
        second = self.same(self.activation(self.same(name, channels)), channels)
        third = self.same(self.activation(self.same(second, channels)), channels)
        joined = self.emit("Concat", [first, second, third], axis=1)
        return self.activation(joined)

    def sum(self, first: str, second: str) -> str:
        fits = self.tensors[first] == self.tensors[second]
        return self.emit("Add", self.shuffled([first, second])) if fits else first

    def shuffled(self, names: list[str]) -> list[str]:
        return names[::-1] if self.chance(0.5) else names

    # Everything else.

    def activation(self, name: str) -> str:
        channels = self.tensors[name][1]
        kinds = ["Relu", "Relu", "LeakyRelu", "PRelu", "PRelu one", "Clip", "Relu6", "Sigmoid", "Tanh", "HardSigmoid"]
        kind = self.one_of(kinds + (["HardSwish"] if self.opset >= 14 else []))
        if kind == "LeakyRelu":
            return self.emit(kind, [name], alpha=self.one_of([0.1, 0.0, 0.01, 1.5]))
        if kind == "PRelu":
            return self.emit(kind, [name, self.constant(self.rng.uniform(-0.2, 1.2, (channels, 1, 1)))])
        if kind == "PRelu one":
            return self.emit("PRelu", [name, self.constant(self.rng.uniform(0, 1, (1, 1, 1)))])
        if kind in ("Clip", "Relu6"):
            low, high = (0.0, 6.0) if kind == "Relu6" else self.one_of([(0.0, None), (-0.5, 0.7), (None, 1.0)])
            return self.clip(name, low, high)
        return self.emit(kind, [name])

    def clip(self, name: str, low: float | None, high: float | None) -> str:
        if self.opset < 11:
            limits = {"min": low, "max": high}
            return self.emit("Clip", [name], **{key: value for key, value in limits.items() if value is not None})
        inputs = [name, "" if low is None else self.constant(low)]
        return self.emit("Clip", inputs + ([] if high is None else [self.constant(high)]))

    def arithmetic(self, name: str) -> str:
        """By a constant a channel, or one for all."""
        kind = self.one_of(["Mul", "Add", "Sub", "Div"])
        low, high = (0.5, 1.5) if kind == "Div" else (-1.5, 1.5)
        channels = self.tensors[name][1]
        other = (
            self.per_channel(channels, low, high) if self.chance(0.8) else self.constant(self.rng.uniform(low, high))
        )
        inputs = [name, other]
        return self.emit(kind, inputs if kind == "Div" else self.shuffled(inputs))

    def pool(self, name: str) -> str:
        kind = self.one_of(["MaxPool", "MaxPool", "AveragePool", "GlobalAveragePool"])
        if kind == "GlobalAveragePool":
            return self.emit(kind, [name])
        kernel = [self.integer(1, 3), self.integer(1, 3)]
        strides = [self.integer(1, min(2, side)) for side in kernel]  # Wider ones have no SAME padding.
        attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
        form = self.one_of(["pads", "pads", "auto", "none"])
        if form == "pads":
            attributes["pads"] = [self.integer(0, k // 2) for k in kernel + kernel]
        if form == "auto":
            attributes["auto_pad"] = self.one_of(["SAME_UPPER", "SAME_LOWER"])
        elif self.opset >= 10 and self.chance(0.4):
            attributes["ceil_mode"] = int(not self.starts_in_padding(name, **attributes))
        if kind == "AveragePool":
            attributes["count_include_pad"] = self.integer(0, 1)
        return self.emit(kind, [name], **attributes)

    def starts_in_padding(self, name: str, kernel_shape: Shape, strides: Shape, pads: Shape = (0, 0, 0, 0)) -> bool:
        """Whether rounding up adds a window past the image: onnxruntime drops it, ONNX's shape inference does not."""
        windows = [
            (before, side, stride, -(-(side + before + after - kernel) // stride))
            for side, kernel, stride, before, after in zip(
                self.tensors[name][2:], kernel_shape, strides, pads[:2], pads[2:], strict=True
            )
        ]
        return any(last * stride >= side + before for before, side, stride, last in windows)

    def resize(self, name: str) -> str:
        batch, channels, height, width = self.tensors[name]
        if max(height, width) * 2 > LARGEST_SIDE:
            return name
        return self.enlarge(name, (batch, channels, height * 2, width * self.integer(1, 2)))

    def enlarge(self, name: str, to: Shape) -> str:
        """To a shape; by factors, where those are whole and ONNX is old or chance says so."""
        sides = self.tensors[name]
        if to == sides and self.chance(0.5):
            return name
        scales = [want / have for want, have in zip(to, sides, strict=True)]
        whole = all(scale == int(scale) for scale in scales)
        if self.opset < 11:
            mode = self.one_of(["nearest", "linear"]) if whole else "nearest"
            return self.emit("Upsample", [name, self.constant(scales)], mode=mode)
        mode, how, nearest = self.one_of(
            [
                *[("nearest", "asymmetric", "floor")] * 3,
                ("nearest", "half_pixel", "round_prefer_floor"),
                ("linear", "half_pixel", "floor"),
                ("linear", "align_corners", "floor"),
                ("linear", "asymmetric", "floor"),
                ("linear", "pytorch_half_pixel", "floor"),
            ]
        )
        # Before 13, what is not given is an empty tensor.
        roi = "" if self.opset >= 13 and self.chance(0.5) else self.constant(np.zeros(0))
        attributes = {"mode": mode, "coordinate_transformation_mode": how, "nearest_mode": nearest}
        if whole and self.chance(0.5):
            return self.emit("Resize", [name, roi, self.constant(scales)], **attributes)
        none = "" if self.opset >= 13 else self.constant(np.zeros(0))
        return self.emit("Resize", [name, roi, none, self.constant(to, np.int64)], **attributes)

    def concat(self, name: str) -> str:
        axis = self.one_of([1, 1, 1, 2, 3, -1])
        parts = [name, *(self.alike(name, axis % 4) for _ in range(self.integer(1, 2)))]
        total = sum(math.prod(self.tensors[part]) for part in parts)
        sides = sum(self.tensors[part][axis] for part in parts)
        if total > LARGEST_TENSOR or (axis != 1 and sides > LARGEST_SIDE):
            return name
        return self.emit("Concat", parts, axis=axis)

    def add(self, name: str) -> str:
        return self.emit(self.one_of(["Add", "Add", "Mul", "Sub", "Max"]), [name, self.alike(name)])

    def split(self, name: str) -> str:
        channels = self.tensors[name][1]
        if channels < 2:
            return name
        first = self.integer(1, channels - 1)
        parts = [first, channels - first]
        if self.opset < 13:
            return self.emit("Split", [name], 2, axis=1, split=parts)
        return self.emit("Split", [name, self.constant(parts, np.int64)], 2, axis=1)

    def slice(self, name: str) -> str:
        axis = self.integer(1, 3)
        side = self.tensors[name][axis]
        start, step = self.integer(0, side // 2), self.integer(1, 2)
        if self.opset < 10:
            return self.emit("Slice", [name], starts=[start], ends=[side], axes=[axis])
        bounds = [self.constant([value], np.int64) for value in (start, self.one_of([side, 1 << 31]), axis, step)]
        return self.emit("Slice", [name, *bounds])

    def pad(self, name: str) -> str:
        if max(self.tensors[name][2:]) > LARGEST_SIDE:
            return name
        mode = self.one_of(["constant", "constant", "reflect", "edge"])
        pads = [0, 0, self.integer(0, 2), self.integer(0, 2)] * 2
        pads[6] = self.integer(0, 2)
        if mode == "reflect" and min(self.tensors[name][2:]) <= 2:
            mode = "edge"
        if self.opset < 11:
            return self.emit("Pad", [name], mode=mode, pads=pads, value=self.one_of([0.0, 0.5]))
        return self.emit(
            "Pad", [name, self.constant(pads, np.int64), self.constant(self.one_of([0.0, 0.5]))], mode=mode
        )

    def transpose(self, name: str) -> str:
        return self.emit("Transpose", [name], perm=self.one_of([[0, 1, 3, 2], [0, 2, 3, 1], [0, 3, 1, 2]]))

    def identity(self, name: str) -> str:
        return self.emit(self.one_of(["Identity", "Dropout"]), [name])

    def gate(self, name: str) -> str:
        """Squeeze and excitation."""
        channels = self.tensors[name][1]
        mean = self.emit("GlobalAveragePool", [name])
        inner = self.emit("Relu", [self.same(mean, self.integer(1, 8), kernel=1)])
        weights = self.emit("Sigmoid", [self.same(inner, channels, kernel=1)])
        return self.emit("Mul", self.shuffled([name, weights]))

    # Outputs.

    def finish(self) -> list[str]:
        forms = [self.pick, self.rows, self.heads, self.classes, self.logits, self.softmax]
        return list(dict.fromkeys(self.one_of(forms)() for _ in range(self.integer(1, 4))))

    def rows(self) -> str:
        return self.rows_of(self.pick(), self.one_of([1, 2, 4, 10]), self.integer(1, 2))

    def rows_of(self, name: str, width: int, anchors: int) -> str:
        head = self.same(name, width * anchors, kernel=self.one_of([1, 1, 3]))
        last = self.emit("Transpose", [head], perm=[0, 2, 3, 1])
        return self.emit("Reshape", [last, self.constant([self.shape[0], -1, width], np.int64)])

    def heads(self) -> str:
        """Rows of several levels, one after the other; classes with a softmax."""
        width, anchors = self.one_of([2, 2, 4, 10]), self.integer(1, 2)
        levels = list(dict.fromkeys(self.pick() for _ in range(3)))
        levels = [name for name in levels if self.tensors[name][0] == self.shape[0]]
        joined = self.emit("Concat", [self.rows_of(name, width, anchors) for name in levels or ["input"]], axis=1)
        return self.emit("Softmax", [joined], axis=-1 if self.opset >= 13 else 2) if width == 2 else joined

    def classes(self) -> str:
        flat = self.emit("Flatten", [self.emit("GlobalAveragePool", [self.pick()])])
        _, features = self.tensors[flat]
        if self.chance(0.5):
            weights = [self.weight(5, features), self.constant(self.rng.normal(0, 1, 5))]
            return self.emit("Gemm", [flat, *weights], transB=1, alpha=0.5, beta=2.0)
        return self.emit("MatMul", [flat, self.weight(features, 3)])

    def logits(self) -> str:
        name = self.pick()
        flat = self.emit("Reshape", [name, self.constant([self.tensors[name][0], -1], np.int64)])
        return self.emit("MatMul", [flat, self.weight(self.tensors[flat][1], 4)])

    def softmax(self) -> str:
        return self.emit("Softmax", [self.pick()], axis=self.integer(1, 3))
