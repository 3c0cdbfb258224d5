"""Limits that the ONNX importer has turned into kernels become operators again."""

from typing import Any

import tvm
from tvm import relax, topi
from tvm.ir import GenericConst
from tvm_ffi import structural_equal

# ONNX's Clip comes as calls of kernels made of these.
OPERATORS = {"maximum": (relax.op.maximum, topi.maximum), "minimum": (relax.op.minimum, topi.minimum)}


def restore_limits(module: tvm.IRModule, function: str = "main") -> tvm.IRModule:
    """Replace a call of a kernel that computes max or min with a scalar constant by that operator.

    Requires: constants are folded. Kernels are told by their names, and by being equal to what TVM makes of the
    operator for these arguments. Ensures: passes that look at operators see a Clip; kernels that nothing calls any more
    are left for dead code elimination.
    """
    result = module.clone()
    result[function] = _Restorer(module).visit_expr(module[function])
    return result


@relax.expr_functor.mutator
class _Restorer(relax.PyExprMutator):
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.module = module

    def visit_call_(self, call: relax.Call) -> Any:
        call = self.visit_expr_post_order(call)
        if call.op != tvm.ir.Op.get("relax.call_tir") or len(call.args[1].fields) != 2:
            return call
        kernel, (source, limit) = call.args[0], call.args[1].fields
        base = kernel.name_hint.rstrip("0123456789_")
        if base not in OPERATORS or not isinstance(limit, GenericConst) or limit.value.numpy().ndim:
            return call
        operator, compute = OPERATORS[base]
        builder = relax.BlockBuilder()
        with builder.function("main", [parameter := relax.Var("x", source.ty)]):
            builder.emit_func_output(builder.emit(builder.call_te(compute, parameter, limit)))
        (made,) = (each for variable, each in builder.get().functions.items() if variable.name_hint != "main")
        return operator(source, limit) if structural_equal(made, self.module[kernel]) else call
