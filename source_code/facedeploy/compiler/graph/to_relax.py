"""Graph -> Relax `main`: layouts are chosen, kernels built, and conversions put where planar meets blocked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from facedeploy.artifact.manifest import Kernel
from facedeploy.compiler.graph.blocked_operators import blocked_operators
from facedeploy.compiler.graph.integer_constants import (
    affine_constants,
    depthwise_steps,
    integer_weights,
    output_steps,
    sum_starts,
)
from facedeploy.compiler.graph.layouts import form_of, layouts_of
from facedeploy.compiler.graph.nodes import (
    Cascade,
    Convolution,
    Dequantize,
    Graph,
    HeadLevel,
    Heads,
    IntegerCascade,
    Node,
    Operator,
    Part,
    Quantize,
    Separable,
    Value,
)
from facedeploy.compiler.graph.operator_kernels import operator_kernel
from facedeploy.compiler.kernels.blocked import quantization
from facedeploy.compiler.kernels.blocked.amx import channel_chunks, integer_block
from facedeploy.compiler.kernels.blocked.candidates import (
    Chooser,
    by_model,
    chain,
    dense_convolution,
    integer_convolution,
    separable,
)
from facedeploy.compiler.kernels.blocked.cascade import FirstLayerSpec, SeparableSpec
from facedeploy.compiler.kernels.blocked.conversion import blocked_to_planar, planar_to_blocked
from facedeploy.compiler.kernels.blocked.depthwise import depthwise_convolution
from facedeploy.compiler.kernels.blocked.direct import Source, channel_blocks
from facedeploy.compiler.kernels.blocked.emit import F32, Epilogue
from facedeploy.compiler.kernels.blocked.heads import Level, Output, heads_convolution
from facedeploy.compiler.kernels.blocked.integer_cascade import PairSpec, in_tiles, integer_cascade
from facedeploy.compiler.kernels.blocked.integer_depthwise import integer_depthwise
from facedeploy.compiler.kernels.blocked.integers import IntegerArithmetic, has_amx, pack_integers
from facedeploy.compiler.kernels.blocked.layout import LANES, Blocked, block_of, pack_bias, pack_dense, pack_depthwise
from facedeploy.compiler.kernels.blocked.planar import pack_planar, planar_convolution
from facedeploy.compiler.kernels.blocked.products import FLOAT
from facedeploy.compiler.kernels.blocked.winograd import pack_winograd
from facedeploy.compiler.target import Target

Array = npt.NDArray[Any]


def relax_of(
    graph: Graph, module: tvm.IRModule, target: Target, choose: Chooser = by_model
) -> tuple[tvm.IRModule, list[Kernel]]:
    """`module` with a `main` that computes the graph; the convolution kernels it calls, in the order of the calls.

    `choose` takes one of several kernels where there are several.
    """
    others = {variable: other for variable, other in module.functions.items() if variable.name_hint != "main"}
    emitter = _Emitter(graph, target, choose, relax.BlockBuilder(tvm.IRModule(others, module.attrs)))
    return emitter.module(), emitter.kernels


@dataclass
class _Emitter:
    graph: Graph
    target: Target
    choose: Chooser
    builder: relax.BlockBuilder
    kernels: list[Kernel] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.on_blocks = blocked_operators(self.graph)
        block = integer_block if has_amx(self.target) else block_of
        self.layouts = layouts_of(self.graph, self.on_blocks, block)
        self.planar: dict[int, Any] = {}  # Relax variables by id of the value.
        self.blocked: dict[int, Any] = {}

    def module(self) -> tvm.IRModule:
        inputs = [relax.Var(value.name, relax.TensorType(value.shape, value.dtype)) for value in self.graph.inputs]
        for value, variable in zip(self.graph.inputs, inputs, strict=True):
            self.planar[id(value)] = variable
        with self.builder.function("main", inputs, attrs={"num_input": len(inputs)}):
            with self.builder.dataflow():
                for node in self.graph.nodes:
                    self.emit(node)
                outputs = [self.as_planar(value) for value in self.graph.outputs]
                result = self.builder.emit_output(outputs[0] if len(outputs) == 1 else relax.Tuple(outputs))
            self.builder.emit_func_output(result)
        return self.builder.get()

    def emit(self, node: Node) -> None:
        match node:
            case Operator() if node in self.on_blocks:
                self.emit_blocked_operator(node)
            case Operator():
                self.emit_operator(node)
            case Quantize():
                self.emit_quantize(node)
            case Dequantize():
                self.emit_dequantize(node)
            case Convolution() if node.integer:
                self.emit_integer_convolution(node)
            case Convolution():
                self.emit_convolution(node)
            case Separable():
                self.emit_separable(node)
            case Cascade():
                self.emit_cascade(node)
            case IntegerCascade():
                self.emit_integer_cascade(node)
            case Heads():
                self.emit_heads(node)

    def emit_operator(self, node: Operator) -> None:
        replaced = {variable: self.as_planar(value) for variable, value in node.arguments.items()}

        def rebuild(expression: Any) -> Any:
            if isinstance(expression, relax.Var):
                return replaced.get(expression, expression)
            if isinstance(expression, relax.Tuple):
                return relax.Tuple([rebuild(part) for part in expression.fields])
            return expression

        call = node.call
        arguments = [rebuild(argument) for argument in call.args]
        self.planar[id(node.outputs[0])] = self.builder.emit(relax.Call(call.op, arguments, call.attrs, call.ty_args))

    def emit_blocked_operator(self, node: Operator) -> None:
        sources = [self.layouts[id(value)] for value in node.operands]
        function, constants = operator_kernel(node, sources, self.layouts[id(node.outputs[0])], self.target)
        arguments = [*(self.as_blocked(value) for value in node.operands), *map(_constant, constants)]
        self.apply(function, arguments, node.outputs)

    def emit_quantize(self, node: Quantize) -> None:
        layout = self.layouts[id(node.output)]
        size = f"{layout.channels}x{layout.height}x{layout.width}"
        if node in self.on_blocks:
            source = self.layouts[id(node.source)]
            function = quantization.quantize_blocks(f"quantize_blocks_{size}", source, layout, self.target)
            arguments = [self.as_blocked(node.source), *self.affine(node.output, layout, source)]
        else:
            function = quantization.quantize(f"quantize_{size}", layout, self.target)
            arguments = [self.as_planar(node.source), *self.affine(node.output, layout)]
        self.apply(function, arguments, node.outputs)

    def emit_dequantize(self, node: Dequantize) -> None:
        layout = self.layouts[id(node.source)]
        size, integers = f"{layout.channels}x{layout.height}x{layout.width}", self.as_blocked(node.source)
        if node in self.on_blocks:
            output = self.layouts[id(node.output)]
            function = quantization.dequantize_blocks(f"dequantize_blocks_{size}", layout, output)
            self.apply(function, [integers, *self.affine(node.source, layout, output)], node.outputs)
        else:
            function = quantization.dequantize(f"dequantize_{size}", layout)
            self.apply(function, [integers, *self.affine(node.source, layout)], node.outputs, planar=True)

    def affine(self, value: Value, layout: Blocked, floats: Blocked | None = None) -> list[Any]:
        return list(map(_constant, affine_constants(value, layout, floats)))

    def emit_integer_convolution(self, node: Convolution) -> None:
        output = self.layouts[id(node.output)]
        size = f"{node.weights.shape[1]}x{output.height}x{output.width}_{output.channels}"
        kernel_size = f"{node.window.kernel[0]}x{node.window.kernel[1]}"
        sources, epilogue = self.sources(node.sources), self.epilogue(node, output)
        if node.depthwise:
            name = f"integer_depthwise{kernel_size}_{size}"
            source = sources[0].layout
            function, tile = integer_depthwise(name, source, output, node.window, epilogue, self.target)
            weights = pack_depthwise(integer_weights(node), source.block)
            reason = tile.reason
        else:
            chosen, reason = self.choose(integer_convolution(sources, output, node.window, epilogue, self.target))
            function = chosen.build(f"integer{kernel_size}_{size}")
            weights = self.pack_integers(node, sources, output.block, has_amx(self.target))
        arguments = [self.as_blocked(part.value) for part in node.sources]
        arguments += [*self.integer_constants(weights, node, output.block), *self.residual(node)]
        self.call(function, arguments, node, reason)

    def pack_integers(self, node: Convolution | HeadLevel, sources: Sequence[Source], block: int, tiled: bool) -> Array:
        """The weights, as the kernel for them reads them, whose output has this block."""
        weights, inner = integer_weights(node), min(source.layout.block for source in sources)
        if tiled:
            return pack_integers(weights, channel_chunks(sources), inner, min(LANES, block), self.target)
        return pack_integers(weights, channel_blocks(sources), inner, block, self.target)

    def integer_constants(self, weights: Array, node: Convolution | HeadLevel, lanes: int) -> list[Any]:
        return list(map(_constant, (weights, sum_starts(node, lanes), output_steps(node, lanes))))

    def emit_convolution(self, node: Convolution) -> None:
        output = self.layouts[id(node.output)]
        size = f"{node.weights.shape[1]}x{output.height}x{output.width}_{output.channels}"
        kernel_size = f"{node.window.kernel[0]}x{node.window.kernel[1]}"
        bias = pack_bias(node.bias, output.block)
        if self.graph.reads_planar(node):
            function, tile = planar_convolution(
                f"planar{kernel_size}_{size}",
                node.sources[0].value.shape,  # type: ignore[arg-type]
                output,
                node.window,
                float(node.slopes[0]),
                self.target,
            )
            reason = tile.reason
            arguments = [self.as_planar(node.sources[0].value), _constant(pack_planar(node.weights, output.block))]
            arguments.append(_constant(bias))
        elif node.depthwise:
            source = self.layouts[id(node.sources[0].value)]
            function, tile = depthwise_convolution(
                f"depthwise{kernel_size}_{size}", source, output, node.window, float(node.slopes[0]), self.target
            )
            reason = tile.reason
            weights = pack_depthwise(node.weights, source.block)
            arguments = [self.as_blocked(node.sources[0].value), _constant(weights), _constant(bias)]
        else:
            sources = self.sources(node.sources)
            channels = channel_blocks(sources)
            inner = sources[0].layout.block
            epilogue = self.epilogue(node, output)
            choice = dense_convolution(sources, output, node.window, epilogue, self.target)
            chosen, reason = self.choose(choice)
            function = chosen.build(f"{chosen.algorithm}{kernel_size}_{size}")
            if chosen.algorithm == "winograd":
                packed = pack_winograd(node.weights, channels, inner, output.block, node.window.stride[0])
            else:
                packed = pack_dense(node.weights, channels, inner, output.block)
            arguments = [self.as_blocked(part.value) for part in node.sources]
            arguments += [_constant(packed), _constant(bias), *self.residual(node)]
        self.call(function, arguments, node, reason)

    def emit_separable(self, node: Separable) -> None:
        depth, point = node.depthwise, node.pointwise
        source, output = self.layouts[id(depth.sources[0].value)], self.layouts[id(node.outputs[0])]
        kernel_size = f"{depth.window.kernel[0]}x{depth.window.kernel[1]}"
        epilogue = self.epilogue(point, output)
        chosen, reason = self.choose(
            separable(source, output, depth.window, float(depth.slopes[0]), epilogue, self.target)
        )
        size = f"{source.channels}x{output.height}x{output.width}_{output.channels}"
        function = chosen.build(f"separable{kernel_size}_{size}")
        arguments = [self.as_blocked(depth.sources[0].value), *self.separable_weights(node), *self.residual(point)]
        self.call(function, arguments, node, reason)

    def separable_weights(self, node: Separable) -> list[Any]:
        depth, point = node.depthwise, node.pointwise
        source, output = self.layouts[id(depth.sources[0].value)], self.layouts[id(node.outputs[0])]
        middle = Source(Blocked(source.batch, source.channels, 1, 1, source.block), 0, source.blocks)
        return [
            _constant(pack_depthwise(depth.weights, source.block)),
            _constant(pack_bias(depth.bias, source.block)),
            _constant(pack_dense(point.weights, channel_blocks([middle]), source.block, output.block)),
            _constant(pack_bias(point.bias, output.block)),
        ]

    def emit_cascade(self, node: Cascade) -> None:
        first, output = node.chain[0], self.layouts[id(node.outputs[0])]
        specs: list[FirstLayerSpec | SeparableSpec] = []
        arguments: list[Any] = []
        for layer in node.chain:
            layout = self.layouts[id(layer.outputs[0])]
            if isinstance(layer, Convolution):
                specs.append(FirstLayerSpec(layer.window, float(layer.slopes[0]), layout))
                arguments += [_constant(pack_planar(layer.weights, layout.block))]
                arguments += [_constant(pack_bias(layer.bias, layout.block))]
            else:
                slope = self.epilogue(layer.pointwise, layout).slope
                depth = layer.depthwise
                specs.append(SeparableSpec(depth.window, float(depth.slopes[0]), slope, layout))
                arguments += self.separable_weights(layer)
        if isinstance(first, Convolution):
            value = first.sources[0].value
            source: Any = self.as_planar(value)
            shape: Any = value.shape
        else:
            value = first.depthwise.sources[0].value
            source, shape = self.as_blocked(value), self.layouts[id(value)]
        name = f"cascade{len(specs)}_{value.shape[1]}x{output.height}x{output.width}_{output.channels}"
        chosen, reason = self.choose(chain(shape, specs, self.target))
        self.call(chosen.build(name), [source, *arguments], node, reason)

    def emit_integer_cascade(self, node: IntegerCascade) -> None:
        source, output = self.layouts[id(node.inputs[0])], self.layouts[id(node.outputs[0])]
        specs, arguments, inner = [], [self.as_blocked(node.inputs[0])], source
        for dense, depthwise in node.chain:
            middle, made = self.layouts[id(dense.output)], self.layouts[id(depthwise.output)]
            slopes = float(dense.slopes[0]), float(depthwise.slopes[0])
            quantized = depthwise.output.dtype != F32
            specs.append(PairSpec(dense.window, slopes[0], middle, depthwise.window, slopes[1], made, quantized))
            whole = Source(inner, 0, inner.blocks)
            weights = self.pack_integers(dense, [whole], middle.block, in_tiles(specs[-1], inner, self.target))
            arguments += self.integer_constants(weights, dense, middle.block)
            arguments += map(_constant, depthwise_steps(depthwise, middle.block, made.block))
            inner = made
        name = f"integer_cascade{len(specs)}_{source.channels}x{output.height}x{output.width}_{output.channels}"
        function, tiles = integer_cascade(name, source, specs, self.target)
        self.call(function, arguments, node, "; ".join(tile.reason for tile in tiles))

    def emit_heads(self, node: Heads) -> None:
        integer = node.levels[0].sources[0].value.dtype != "float32"
        levels, arguments = [], []
        for level in node.levels:
            sources = self.sources(level.sources)
            levels.append(Level(tuple(sources)))
            arguments += [self.as_blocked(part.value) for part in level.sources]
            if integer:
                weights = self.pack_integers(level, sources, LANES, has_amx(self.target))
                arguments += self.integer_constants(weights, level, LANES)
            else:
                inner = sources[0].layout.block
                arguments += [_constant(pack_dense(level.weights, channel_blocks(sources), inner, LANES))]
                arguments += [_constant(pack_bias(level.bias, LANES))]
        outputs = [
            Output(channels, value.shape[2], softmax)
            for channels, value, softmax in zip(node.channels, node.outputs, node.softmaxes, strict=True)
        ]
        arithmetic = IntegerArithmetic(self.target) if integer else FLOAT
        function, tiles = heads_convolution("heads", levels, outputs, self.target, arithmetic)
        reason = "; ".join(dict.fromkeys(tile.reason for tile in tiles))
        self.call(function, arguments, node, reason, planar=True)

    def call(
        self,
        function: Any,
        arguments: Sequence[Any],
        node: Convolution | Separable | Cascade | IntegerCascade | Heads,
        reason: str,
        planar: bool = False,
    ) -> None:
        """Apply a kernel of convolutions, and keep a record of it."""
        name = self.apply(function, arguments, node.outputs, planar)
        writes = None if planar else form_of(node.outputs[0], self.layouts[id(node.outputs[0])])
        self.kernels.append(Kernel(name, node.layers, node.multiply_adds, reason, writes))

    def apply(self, function: Any, arguments: Sequence[Any], outputs: Sequence[Value], planar: bool = False) -> str:
        """Emit a call; the name of its function, which the builder chooses: equal ones are there once."""
        kernel = self.builder.add_func(function, str(function.attrs["kernel"]))
        shapes = [value.shape if planar else self.layouts[id(value)].shape for value in outputs]
        types = [relax.TensorType(shape, value.dtype) for shape, value in zip(shapes, outputs, strict=True)]
        result = self.builder.emit(
            relax.call_tir(kernel, relax.Tuple(list(arguments)), types if len(types) > 1 else types[0])
        )
        forms = self.planar if planar else self.blocked
        for index, value in enumerate(outputs):
            forms[id(value)] = self.builder.emit(relax.TupleGetItem(result, index)) if len(types) > 1 else result
        return str(kernel.name_hint)

    def sources(self, parts: Sequence[Part]) -> list[Source]:
        found = []
        for part in parts:
            layout = self.layouts[id(part.value)]
            assert part.first % layout.block == 0, "parts are whole blocks"
            found.append(Source(layout, part.first // layout.block, -(-part.channels // layout.block)))
        return found

    def epilogue(self, node: Convolution, output: Blocked) -> Epilogue:
        slopes = tuple(float(slope) for slope in node.slopes[:: output.block])
        slope: float | tuple[float, ...] = slopes[0] if len(set(slopes)) == 1 else slopes
        residual = self.layouts[id(node.residual)] if node.residual else None
        residual_dtype = node.residual.dtype if node.residual else F32
        quantized = node.output.dtype != F32
        return Epilogue(slope, residual, node.upsample, node.slope_after, residual_dtype, quantized)

    def residual(self, node: Convolution) -> list[Any]:
        return [self.as_blocked(node.residual)] if node.residual else []

    def as_blocked(self, value: Value) -> Any:
        if id(value) not in self.blocked:
            layout = self.layouts[id(value)]
            name = f"to_blocked_{layout.channels}x{layout.height}x{layout.width}"
            kernel = self.builder.add_func(planar_to_blocked(name, layout), name)
            call = relax.call_tir(kernel, [self.planar[id(value)]], relax.TensorType(layout.shape, "float32"))
            self.blocked[id(value)] = self.builder.emit(call)
        return self.blocked[id(value)]

    def as_planar(self, value: Value) -> Any:
        if id(value) not in self.planar:
            layout = self.layouts[id(value)]
            name = f"to_planar_{layout.channels}x{layout.height}x{layout.width}"
            kernel = self.builder.add_func(blocked_to_planar(name, layout), name)
            call = relax.call_tir(kernel, [self.blocked[id(value)]], relax.TensorType(value.shape, "float32"))
            self.planar[id(value)] = self.builder.emit(call)
        return self.planar[id(value)]


def _constant(array: Array) -> Any:
    return relax.const(np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else None))
