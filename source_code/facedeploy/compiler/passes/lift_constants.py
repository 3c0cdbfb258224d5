"""Constants become parameters, so that weights live in `mod.params` and code in `mod.so`."""

import hashlib
from typing import Any

import tvm
from tvm import relax
from tvm.ir import GenericConst


def lift_constants(module: tvm.IRModule, function: str = "main") -> tuple[tvm.IRModule, list[tvm.runtime.Tensor]]:
    """Replace every tensor constant of `function` by a parameter behind its inputs.

    Requires: the graph is final; no later pass folds or adds constants. Ensures: `function` holds no constant of rank 1
    or more; the tensors come in the order of the new parameters, equal ones once. 0-d constants stay.
    """
    lifter = _Lifter(module)
    original = module[function]
    body = lifter.visit_expr(original.body)
    parameters = [*original.params, *(parameter for parameter, _ in lifter.lifted)]
    lifted = relax.Function(parameters, body, original.ret_ty, original.is_pure, original.attrs)
    # How many of the parameters are inputs.
    lifted = lifted.with_attr("num_input", len(original.params))
    # A new global variable, since the old one's type has the old arguments.
    functions = {variable: other for variable, other in module.functions.items() if variable.name_hint != function}
    builder = relax.BlockBuilder(tvm.IRModule(functions, module.attrs))
    builder.add_func(lifted, function)
    return builder.get(), [tensor for _, tensor in lifter.lifted]


@relax.expr_functor.mutator
class _Lifter(relax.PyExprMutator):
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.lifted: list[tuple[relax.Var, tvm.runtime.Tensor]] = []
        self._parameters: dict[tuple[str, tuple[int, ...], bytes], relax.Var] = {}

    def visit_generic_const_(self, constant: GenericConst) -> Any:
        tensor = constant.value
        if not isinstance(tensor, tvm.runtime.Tensor) or len(tensor.shape) == 0:
            return constant
        content = str(tensor.dtype), tuple(tensor.shape), hashlib.sha256(tensor.numpy()).digest()
        if content not in self._parameters:
            self._parameters[content] = relax.Var(f"parameter_{len(self.lifted)}", constant.ty)
            self.lifted.append((self._parameters[content], tensor))
        return self._parameters[content]
