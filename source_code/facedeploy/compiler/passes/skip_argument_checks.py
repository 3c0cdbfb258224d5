"""Kernels that only an entry point calls trust it."""

import tvm
from tvm import tirx

# Attribute of the functions that are called from outside: they keep their checks.
PUBLIC = "facedeploy.public"


def skip_argument_checks(module: tvm.IRModule) -> tvm.IRModule:
    """Remove the checks of number, type, shape and alignment of the arguments of all kernels that are not `PUBLIC`.

    Requires: functions are packed (MakePackedAPI). Entry points check what comes from outside; what kernels
    then get is what memory planning has made. The checks are over half of the machine code of a small net.
    """
    internal = {variable: function for variable, function in module.functions.items() if PUBLIC not in function.attrs}
    result = module.clone()
    result.update(tirx.transform.SkipAssert()(tvm.IRModule(internal, attrs=module.attrs)))
    return result
