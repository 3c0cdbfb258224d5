"""Batch normalization, and any other scale and shift of channels, becomes part of the convolution in front of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax
from tvm.ir import GenericConst

FloatArray = npt.NDArray[np.float32]
CONVOLUTION, NORM = "relax.nn.conv2d", "relax.nn.batch_norm"
ADD, SUBTRACT, MULTIPLY, DIVIDE = "relax.add", "relax.subtract", "relax.multiply", "relax.divide"


def fold_batch_norm(module: tvm.IRModule, function: str = "main") -> tvm.IRModule:
    """Fold what scales or shifts the channels of a convolution that nothing else reads into its weights and bias.

    Requires: constants are folded, one dataflow block. Ensures: no batch normalization with constant statistics is left
    (behind anything else it is a multiplication and an addition); such a convolution is followed by at most one
    addition of constants; convolutions keep their order. Dense, grouped and depthwise ones take part.
    """
    main = module[function]
    blocks = main.body.blocks
    if len(blocks) != 1 or not isinstance(blocks[0], relax.DataflowBlock):
        return module
    body = relax.SeqExpr([relax.DataflowBlock(_folded(blocks[0]))], main.body.body)
    result = module.clone()
    result[function] = relax.Function(main.params, body, main.ret_ty, main.is_pure, main.attrs)
    return result


@dataclass(frozen=True)
class _Affine:
    """scale * x + shift, for each channel."""

    scale: FloatArray
    shift: FloatArray

    def after(self, first: "_Affine") -> "_Affine":
        """What it makes of what `first` yields."""
        return _Affine(first.scale * self.scale, first.shift * self.scale + self.shift)


def _folded(block: Any) -> list[Any]:
    bound = {binding.var: binding.value for binding in block.bindings}
    uses = relax.analysis.udchain(block)
    # Each convolution with the last of the bindings that only scale and shift it; and what these do in all.
    ends: dict[Any, Any] = {}
    chains: dict[Any, tuple[Any, _Affine]] = {}
    for variable, value in bound.items():
        if _takes_part(value):
            ends[variable] = variable
            channels = np.zeros(value.args[1].value.numpy().shape[0], np.float32)
            chains[variable] = variable, _Affine(channels + 1, channels)
            continue
        found = _affine_of(value, bound)
        if found is None:
            continue
        source, affine = found
        if source in chains and isinstance(source, relax.DataflowVar) and len(uses[source]) == 1:
            convolution, before = chains[source]
            ends[convolution] = variable
            chains[variable] = convolution, affine.after(before)
    bindings = []
    for variable, value in bound.items():
        chain = chains.get(variable)
        if variable in ends:
            _, total = chains[ends[variable]]
            bindings.append(relax.VarBinding(variable, _scaled(value, total.scale)))
        elif chain is not None and ends[chain[0]] is variable:
            shift = relax.const(chain[1].shift.reshape(1, -1, 1, 1))
            bindings.append(relax.VarBinding(variable, _normalized(relax.op.add(chain[0], shift))))
        elif _is_norm(value, bound) and (found := _affine_of(value, bound)) is not None:
            bindings += _arithmetic(variable, *found)
        else:
            bindings.append(relax.VarBinding(variable, value))
    return bindings


def _name(call: Any) -> str:
    return str(getattr(getattr(call, "op", None), "name", ""))


def _normalized(expression: Any) -> Any:
    """With its type."""
    return relax.BlockBuilder().normalize(expression)


def _takes_part(call: Any) -> bool:
    if _name(call) != CONVOLUTION or not isinstance(call.args[1], GenericConst):
        return False
    plain = (call.attrs.data_layout, call.attrs.kernel_layout) == ("NCHW", "OIHW")
    return plain and call.args[1].value.numpy().dtype == np.float32


def _scaled(call: Any, scale: FloatArray) -> Any:
    if (scale == 1).all():
        return call
    weights = relax.const(call.args[1].value.numpy() * scale[:, None, None, None])
    return _normalized(relax.Call(call.op, [call.args[0], weights], call.attrs))


def _arithmetic(variable: Any, source: Any, affine: _Affine) -> list[Any]:
    shape = [1] * len(source.ty.shape)
    shape[1] = -1
    product = _normalized(relax.op.multiply(source, relax.const(affine.scale.reshape(shape))))
    scaled = relax.DataflowVar(f"{variable.name}_scaled", product.ty)
    total = _normalized(relax.op.add(scaled, relax.const(affine.shift.reshape(shape))))
    return [relax.VarBinding(scaled, product), relax.VarBinding(variable, total)]


def _is_norm(value: Any, bound: Any) -> bool:
    return isinstance(value, relax.TupleGetItem) and value.index == 0 and _name(bound.get(value.tuple_value)) == NORM


def _affine_of(value: Any, bound: Any) -> tuple[Any, _Affine] | None:
    """The tensor that a binding's value scales and shifts channel by channel, and how; None for anything else."""
    if _is_norm(value, bound):
        call = bound[value.tuple_value]
        statistics = _normalization(call)
        return None if statistics is None else (call.args[0], statistics)
    name = _name(value)
    if name not in (ADD, SUBTRACT, MULTIPLY, DIVIDE):
        return None
    constants = [isinstance(argument, GenericConst) for argument in value.args]
    if sum(constants) != 1 or (name == DIVIDE and constants[0]):
        return None
    source, constant = value.args if constants[1] else value.args[::-1]
    numbers = _per_channel(constant.value.numpy(), source)
    if numbers is None:
        return None
    one, zero = np.ones_like(numbers), np.zeros_like(numbers)
    match name:
        case "relax.multiply":
            return source, _Affine(numbers, zero)
        case "relax.divide":
            return source, _Affine(one / numbers, zero)
        case "relax.add":
            return source, _Affine(one, numbers)
    return source, _Affine(one, -numbers) if constants[1] else _Affine(-one, numbers)


def _normalization(call: Any) -> _Affine | None:
    attributes = call.attrs
    if attributes.axis != 1 or attributes.training or not all(isinstance(arg, GenericConst) for arg in call.args[1:]):
        return None
    gamma, beta, mean, variance = (arg.value.numpy().astype(np.float64) for arg in call.args[1:])
    scale = 1 / np.sqrt(variance + attributes.epsilon)
    scale = scale * gamma if attributes.scale else scale
    shift = -mean * scale + (beta if attributes.center else 0)
    return _Affine(scale.astype(np.float32), shift.astype(np.float32))


def _per_channel(constant: Any, source: Any) -> FloatArray | None:
    """The constant as (C,), if it is the same for every pixel of a (N, C, H, W) tensor."""
    kind = source.ty
    if not isinstance(kind, relax.TensorType) or kind.shape is None or len(kind.shape) != 4 or constant.ndim > 4:
        return None
    channels = int(kind.shape[1])
    shape = (1,) * (4 - constant.ndim) + constant.shape
    if constant.dtype != np.float32 or shape not in ((1, channels, 1, 1), (1, 1, 1, 1)):
        return None
    return np.broadcast_to(constant.reshape(-1), channels).astype(np.float32)
