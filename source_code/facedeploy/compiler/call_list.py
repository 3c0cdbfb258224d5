"""A model as what remains of it at the end: kernels, called one after the other on tensors."""

import hashlib
from dataclasses import dataclass
from math import prod
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.ir import GenericConst

from facedeploy.artifact.manifest import ALIGNMENT, Kernel
from facedeploy.compiler.graph.attributes import kernels_of
from facedeploy.compiler.kernels.copy import copy
from facedeploy.core.tensor_spec import bytes_of

FLOAT_BYTES = 4


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor, told from others by identity."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """Its size."""
        return bytes_of(self.shape, self.dtype)


@dataclass(frozen=True)
class Call:
    """A kernel with the tensors it reads, and then those it writes."""

    kernel: Kernel
    arguments: tuple[Value, ...]


@dataclass(frozen=True)
class CallList:
    """All that one inference does. What is neither input, parameter nor output is held in between."""

    input: Value
    parameters: tuple[Value, ...]
    outputs: tuple[Value, ...]
    calls: tuple[Call, ...]


class Parameters:
    """Constants that kernels read, equal ones once, however many modules have them."""

    def __init__(self) -> None:
        self.tensors: dict[Value, tvm.runtime.Tensor] = {}  # In the order in which they were first read.
        self._values: dict[tuple[str, tuple[int, ...], bytes], Value] = {}

    def value_of(self, tensor: tvm.runtime.Tensor) -> Value:
        """The parameter that has these numbers."""
        shape, dtype = tuple(map(int, tensor.shape)), str(tensor.dtype)
        content = dtype, shape, hashlib.sha256(tensor.numpy()).digest()
        if content not in self._values:
            self._values[content] = Value(shape, dtype)
            self.tensors[self._values[content]] = tensor
        return self._values[content]


def read_calls(module: tvm.IRModule, parameters: Parameters) -> tuple[CallList, tvm.IRModule]:
    """`main` of a module whose operators all are kernels -> its calls, and the kernels.

    Constants become `parameters`. Raises ValueError for what no kernel computes.
    """
    reader = _Reader(module, parameters)
    main = module["main"]
    kernels = {variable: function for variable, function in module.functions.items() if variable.name_hint != "main"}
    reader.read(main)
    (image,) = main.params
    read = {id(value) for call in reader.calls for value in call.arguments}
    needed = tuple(value for value in parameters.tensors if id(value) in read)
    calls = CallList(reader.values[image], needed, tuple(reader.outputs), tuple(reader.calls))
    builder = relax.BlockBuilder(tvm.IRModule(kernels))
    for name, kernel in reader.copies.items():
        builder.add_func(kernel, name)
    return calls, builder.get()


def input_alignment(calls: CallList, module: tvm.IRModule) -> int:
    """What the address of the input must be a multiple of, bytes, for all that reads it.

    Kernels take their arguments to be aligned as tvm allocates, but for those that promise to read any float.
    """
    needs = [FLOAT_BYTES]
    for call in calls.calls:
        # Functions that tvm lowered have handles as parameters, which say nothing.
        needs += [
            int(getattr(parameter, "data_alignment", ALIGNMENT))
            for parameter, value in zip(module[call.kernel.name].params, call.arguments, strict=True)
            if value is calls.input
        ]
    return max(needs)


class _Reader:
    def __init__(self, module: tvm.IRModule, parameters: Parameters) -> None:
        self.values: dict[Any, Any] = {}  # Of variables: a Value, or a list of such.
        self.parameters = parameters
        self.outputs: list[Value] = []
        self.calls: list[Call] = []
        self.copies: dict[str, tirx.PrimFunc] = {}
        self._records = list(kernels_of(module))

    def read(self, main: relax.Function) -> None:
        for parameter in main.params:
            self.values[parameter] = _value(parameter.ty)
        for block in main.body.blocks:
            for binding in block.bindings:
                self.values[binding.var] = self._read(binding.value)
        results = self._read(main.body.body)
        written = {id(value) for call in self.calls for value in call.arguments}
        known = {id(self.values[parameter]) for parameter in main.params} | set(map(id, self.parameters.tensors))
        for value in results if isinstance(results, list) else [results]:
            # What is given, or an output already, is not the memory of this output.
            taken = id(value) in known or id(value) not in written or any(value is other for other in self.outputs)
            self.outputs.append(self._copy(value) if taken else value)

    def _read(self, expression: Any) -> Any:
        match expression:
            case relax.Var():
                return self.values[expression]
            case GenericConst():
                return self.parameters.value_of(expression.value)
            case relax.Tuple() | tvm.ir.Tuple():
                return [self._read(field) for field in expression.fields]
            case relax.TupleGetItem():
                return self._read(expression.tuple_value)[expression.index]
            case relax.Call() if expression.op == tvm.ir.Op.get("relax.call_tir") and len(expression.args) == 2:
                return self._call(expression)
        what = expression.op if isinstance(expression, relax.Call) else type(expression).__name__
        raise ValueError(f"{what} has no kernel for tensors of static shape")

    def _call(self, call: Any) -> Any:
        variable, sources = call.args
        several = isinstance(call.ty, tvm.ir.TupleType)
        results = [_value(kind) for kind in (call.ty.fields if several else [call.ty])]
        name = str(variable.name_hint)
        kernel = self._records.pop(0) if self._records and self._records[0].name == name else Kernel(name)
        self.calls.append(Call(kernel, (*map(self._read, sources.fields), *results)))
        return results if several else results[0]

    def _copy(self, value: Value) -> Value:
        name = f"copy_{len(self.copies)}"
        self.copies[name] = copy(name, prod(value.shape), value.dtype)
        self.calls.append(Call(Kernel(name), (value, Value(value.shape, value.dtype))))
        return self.calls[-1].arguments[-1]


def _value(kind: Any) -> Value:
    shape = getattr(kind, "shape", None)
    if shape is None or not all(isinstance(side, tirx.IntImm) for side in shape):
        raise ValueError(f"a tensor of {kind} has no static shape")
    return Value(tuple(map(int, shape)), str(kind.dtype))
