"""Constants become parameters, so that weights live in `mod.params` and code in `mod.so`."""

from typing import Any

import tvm
from tvm import relax
from tvm.ir import GenericConst


def lift_constants(module: tvm.IRModule, function: str = "main") -> tuple[tvm.IRModule, list[tvm.runtime.Tensor]]:
    """Replace every tensor constant of `function` by a parameter behind its inputs.

    Requires: the graph is final; no later pass folds or adds constants. Ensures: `function` holds no constant of rank 1
    or more; the tensors come in the order of the new parameters, each once. 0-d constants stay.
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
        self._seen: list[tuple[GenericConst, relax.Var]] = []

    def visit_generic_const_(self, constant: GenericConst) -> Any:
        tensor = constant.value
        if not isinstance(tensor, tvm.runtime.Tensor) or len(tensor.shape) == 0:
            return constant
        for seen, parameter in self._seen:
            if seen.same_as(constant):
                return parameter
        parameter = relax.Var(f"parameter_{len(self.lifted)}", constant.ty)
        self._seen.append((constant, parameter))
        self.lifted.append((parameter, tensor))
        return parameter
