"""Kernels of a Clip become operators; others that only share the name do not."""

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax, topi

from facedeploy.compiler.passes.restore_limits import restore_limits


def module_of(compute: Any, limit: Any, name: str) -> tvm.IRModule:
    x = relax.Var("x", relax.TensorType((2, 3), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(builder.call_te(compute, x, limit, primfunc_name_hint=name))
        builder.emit_func_output(result)
    return builder.get()


def operator(module: tvm.IRModule) -> str:
    (binding,) = restore_limits(module)["main"].body.blocks[0].bindings
    return str(binding.value.op.name)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_kernel_of_a_limit_becomes_an_operator(name: str) -> None:
    assert operator(module_of(getattr(topi, name), relax.const(np.float32(6)), name)) == f"relax.{name}"


def test_kernel_that_computes_something_else_stays() -> None:
    assert operator(module_of(topi.add, relax.const(np.float32(6)), "maximum")) == "relax.call_tir"


def test_kernel_of_a_tensor_of_limits_stays() -> None:
    assert operator(module_of(topi.maximum, relax.const(np.zeros(3, np.float32)), "maximum")) == "relax.call_tir"
