"""Entries of the artifact: functions that call the kernels of a call list."""

from collections.abc import Mapping, Sequence
from typing import Any

import tvm
from tvm import tirx
from tvm.ir import Op, PointerType, PrimType
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as T

from facedeploy.artifact.manifest import KernelCall, Region
from facedeploy.compiler.passes.skip_argument_checks import PUBLIC
from facedeploy.core.tensor_spec import TensorSpec

SYMBOL_PREFIX = "__tvm_ffi_"  # What tvm puts before the name of a packed function.
REGIONS: tuple[Region, ...] = ("parameters", "workspace", "outputs")
CPU = 1  # DLPack's number of the device.


def add_entry_point(
    module: tvm.IRModule,
    image: TensorSpec,
    alignment: int,
    calls: Sequence[KernelCall],
    sizes: Mapping[Region, int],
) -> None:
    """Add `image.name(input, parameters, workspace, outputs)`, which makes all of `calls`.

    The input has the shape of `image`, at an address that is a multiple of `alignment` bytes; the regions are `sizes`
    bytes, aligned as tvm allocates. Kernels are called by their symbols: with no virtual machine in between, a call
    costs a tenth of a microsecond.
    """
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name(image.name)
        T.func_attr({"global_symbol": image.name, PUBLIC: True})
        tensor = T.arg("input", T.buffer(image.shape, image.dtype, align=alignment))
        regions = {region: T.arg(region, T.buffer((_int64(sizes[region]),), "uint8")) for region in REGIONS}
        for call in calls:
            addresses = [
                T.address_of(regions[at.region][_int64(at.offset)])
                if at.region in regions
                else tirx.op.buffer_data(tensor)
                for at in call.arguments
            ]
            with T.If(tvm.ir.Call(_caller(module, call), addresses, ret_ty="int32") != 0), T.Then():
                T.evaluate(tirx.tvm_throw_last_error())
    module[image.name] = builder.get()


def _caller(module: tvm.IRModule, call: KernelCall) -> tvm.ir.GlobalVar:
    """The function of `module` that calls the kernel, given addresses: the one place that names its symbol.

    LLVM gives the second declaration of a symbol in a module another name.
    """
    name = f"call_{call.kernel.name}"
    for variable in module.functions:
        if variable.name_hint == name:
            return variable
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name(name)
        T.func_ret(PrimType("int32"))
        addresses = [T.arg(f"argument_{index}", T.handle()) for index in range(len(call.arguments))]
        with T.attr("default", "device_id", 0), T.attr("default", "device_type", CPU):
            tensors = [
                _tensor(address, at.shape, at.dtype) for address, at in zip(addresses, call.arguments, strict=True)
            ]
            T.evaluate(tirx.call_cpacked(SYMBOL_PREFIX + call.kernel.name, *tensors))
        T.Return(tirx.const(0, "int32"))
    variable = tvm.ir.GlobalVar(name)
    module[variable] = builder.get()
    return variable


def _tensor(address: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """A DLTensor on the stack."""
    sides = [_int64(side) for side in shape]
    array = tvm.ir.Call(Op.get("tirx.tvm_stack_make_shape"), sides, ret_ty=PointerType(PrimType("int64")))
    return tirx.op.tvm_stack_make_array(address, array, 0, len(sides), dtype, 0)


def _int64(number: int) -> Any:
    return tirx.const(number, "int64")
