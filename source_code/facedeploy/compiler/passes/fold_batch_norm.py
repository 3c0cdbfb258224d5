"""Batch normalization, and any other scale and shift of channels, becomes part of the convolution in front of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax
from tvm.ir import GenericConst

FloatArray = npt.NDArray[np.float32]
ADD, SUBTRACT, MULTIPLY, DIVIDE = "relax.add", "relax.subtract", "relax.multiply", "relax.divide"
NORM = "relax.nn.batch_norm"


def fold_batch_norm(module: tvm.IRModule, function: str = "main") -> tvm.IRModule:
    """Fold what scales or shifts the channels of a convolution that nothing else reads into its weights and bias.

    Requires: constants are folded, one dataflow block. Ensures: no batch normalization with constant statistics is left
    (behind anything else it is a multiplication and an addition); a convolution is followed by at most one addition of
    constants. Dense, grouped and depthwise convolutions with constant float32 weights take part.
    """
    main = module[function]
    if len(main.body.blocks) != 1 or not isinstance(main.body.blocks[0], relax.DataflowBlock):
        return module
    result = module.clone()
    result[function] = _Folder(module, relax.analysis.udchain(main.body.blocks[0])).visit_expr(main)
    return result


@dataclass(frozen=True)
class _Affine:
    """scale * x + shift, for each channel."""

    scale: FloatArray
    shift: FloatArray


@relax.expr_functor.mutator
class _Folder(relax.PyExprMutator):
    def __init__(self, module: tvm.IRModule, uses: Any) -> None:
        super().__init__(module)
        self.uses = uses

    def visit_tuple_getitem_(self, item: Any) -> Any:
        item = self.visit_expr_post_order(item)
        call = self._bound(item.tuple_value)
        if item.index != 0 or _name(call) != NORM:
            return item
        source, affine = call.args[0], _normalization(call)
        if affine is None:
            return item
        folded = self._behind_convolution(source, affine)
        if folded is not None:
            return folded
        shape = [1] * len(source.ty.shape)
        shape[1] = -1
        scaled = self.builder_.emit(relax.op.multiply(source, relax.const(affine.scale.reshape(shape))))
        return relax.op.add(scaled, relax.const(affine.shift.reshape(shape)))

    def visit_call_(self, call: relax.Call) -> Any:
        call = self.visit_expr_post_order(call)
        found = _arithmetic(call)
        if found is None:
            return call
        source, affine = found
        if _name(call) in (ADD, SUBTRACT) and _name(self._bound(source)) == "relax.nn.conv2d":
            return call  # It is the bias.
        folded = self._behind_convolution(source, affine)
        return call if folded is None else folded

    def _behind_convolution(self, source: Any, affine: _Affine) -> Any | None:
        """`affine` of a convolution, with or without a bias, as a convolution with a bias."""
        convolution, bias = self._alone(source), np.float32(0)
        if _name(convolution) == ADD:
            found = _arithmetic(convolution)
            if found is None:
                return None
            convolution, bias = self._alone(found[0]), found[1].shift
        if _name(convolution) != "relax.nn.conv2d" or not isinstance(convolution.args[1], GenericConst):
            return None
        weights = convolution.args[1].value.numpy()
        attributes = convolution.attrs
        if weights.dtype != np.float32 or (attributes.data_layout, attributes.kernel_layout) != ("NCHW", "OIHW"):
            return None
        scaled = relax.const((weights * affine.scale[:, None, None, None]).astype(np.float32))
        product = self.builder_.emit(relax.Call(convolution.op, [convolution.args[0], scaled], attributes))
        shift = (bias * affine.scale + affine.shift).astype(np.float32)
        return relax.op.add(product, relax.const(shift.reshape(1, -1, 1, 1)))

    def _bound(self, variable: Any) -> Any:
        return self.lookup_binding(variable) if isinstance(variable, relax.Var) else None

    def _alone(self, variable: Any) -> Any:
        """What a variable is bound to, if it is read once. One that this pass has made is."""
        inner = isinstance(variable, relax.DataflowVar) and len(self.uses.get(variable, [None])) == 1
        return self._bound(variable) if inner else None


def _name(call: Any) -> str:
    return str(getattr(getattr(call, "op", None), "name", ""))


def _normalization(call: Any) -> _Affine | None:
    attributes = call.attrs
    if attributes.axis != 1 or attributes.training or not all(isinstance(arg, GenericConst) for arg in call.args[1:]):
        return None
    gamma, beta, mean, variance = (arg.value.numpy().astype(np.float64) for arg in call.args[1:])
    scale = 1 / np.sqrt(variance + attributes.epsilon)
    scale = scale * gamma if attributes.scale else scale
    shift = -mean * scale + (beta if attributes.center else 0)
    return _Affine(scale.astype(np.float32), shift.astype(np.float32))


def _arithmetic(call: Any) -> tuple[Any, _Affine] | None:
    """A tensor (N, C, H, W), and what an operator with a constant, one number a channel or one for all, does to it."""
    name = _name(call)
    if name not in (ADD, SUBTRACT, MULTIPLY, DIVIDE):
        return None
    constants = [isinstance(arg, GenericConst) for arg in call.args]
    if sum(constants) != 1:
        return None
    source, constant = call.args if constants[1] else call.args[::-1]
    values = _per_channel(constant.value.numpy(), source)
    if values is None or (name == DIVIDE and not constants[1]):
        return None
    one, zero = np.ones_like(values), np.zeros_like(values)
    match name:
        case "relax.multiply":
            return source, _Affine(values, zero)
        case "relax.divide":
            return source, _Affine(one / values, zero)
        case "relax.add":
            return source, _Affine(one, values)
    return source, _Affine(one, -values) if constants[1] else _Affine(-one, values)


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
