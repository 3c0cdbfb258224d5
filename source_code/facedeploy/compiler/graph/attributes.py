"""What passes tell one another about a module, as its attributes, which every pass hands on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import tvm

from facedeploy.artifact.manifest import Form, Kernel

LAYERS, KERNELS = "facedeploy.layers", "facedeploy.kernels"


@dataclass(frozen=True)
class Layer:
    """A convolution of the model: its name, and the scales of its integer weights, none if they are floats.

    One for all output channels, or one for each.
    """

    name: str
    weight_scales: tuple[float, ...] = ()


def with_layers(module: tvm.IRModule, layers: Sequence[Layer]) -> tvm.IRModule:
    """`module`, which tells the convolutions of the model it was made of, in their order."""
    return module.with_attr(LAYERS, [asdict(layer) for layer in layers])


def layers_of(module: tvm.IRModule) -> tuple[Layer, ...]:
    """What `with_layers` told; empty if it did not."""
    return tuple(
        Layer(str(record["name"]), tuple(map(float, record["weight_scales"])))
        for record in (module.attrs or {}).get(LAYERS, ())
    )


def with_kernels(module: tvm.IRModule, kernels: Sequence[Kernel]) -> tvm.IRModule:
    """`module`, which tells the convolution kernels that `main` calls, in the order of the calls."""
    return module.with_attr(KERNELS, [asdict(kernel) for kernel in kernels])


def kernels_of(module: tvm.IRModule) -> tuple[Kernel, ...]:
    """What `with_kernels` told; empty if it did not."""
    return tuple(
        Kernel(
            str(record["name"]),
            tuple(map(str, record["layers"])),
            int(record["multiply_adds"]),
            str(record["reason"]),
            _form(record["writes"]),
        )
        for record in (module.attrs or {}).get(KERNELS, ())
    )


def _form(record: Any) -> Form | None:
    if record is None:
        return None
    scale, zero_point = tuple(map(float, record["scale"])), tuple(map(int, record["zero_point"]))
    return Form(int(record["channels"]), int(record["halo"]), scale, zero_point)
