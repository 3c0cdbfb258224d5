"""A tensor as it is, somewhere else: for outputs that are the model's input, its weights, or another output."""

from typing import Any

from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.emit import argument, kernel


def copy(name: str, size: int, dtype: str) -> Any:
    """`name(source, out)` for `size` numbers of any shape; a PrimFunc."""
    with kernel(name) as builder:
        source, out = argument("source", (size,), dtype), argument("out", (size,), dtype)
        with T.serial(0, size) as index:
            T.buffer_store(out, source[index], [index])
    return builder.get()
