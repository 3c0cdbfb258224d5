"""Where each tensor of a call list lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from facedeploy.artifact.manifest import ALIGNMENT, Argument, KernelCall, Region, lay_out
from facedeploy.compiler.call_list import CallList, Value

Places = Mapping[Value, Argument]


@dataclass(frozen=True)
class MemoryPlan:
    """Each tensor's place, and the sizes of two regions, bytes."""

    places: Places
    workspace_bytes: int
    output_bytes: int

    def located(self, calls: CallList, suffix: str = "") -> tuple[KernelCall, ...]:
        """The calls as the manifest has them, kernels under names that end so."""
        return tuple(
            KernelCall(
                replace(call.kernel, name=call.kernel.name + suffix),
                tuple(self.places[value] for value in call.arguments),
            )
            for call in calls.calls
        )


def place_in_a_row(region: Region, values: Sequence[Value]) -> tuple[Places, int]:
    """One behind the other; and where the last one ends, bytes."""
    offsets, size = lay_out(value.bytes for value in values)
    places = {
        value: Argument(region, offset, value.shape, value.dtype) for value, offset in zip(values, offsets, strict=True)
    }
    return places, size


def plan_memory(calls: CallList, parameters: Places) -> MemoryPlan:
    """`parameters` lie where they do, outputs one behind the other. Tensors in between that are never needed at the
    same time share memory: largest first, each takes the lowest offset that is free from its first to its last use.
    """
    image, _ = place_in_a_row("input", [calls.input])
    outputs, output_bytes = place_in_a_row("outputs", calls.outputs)
    places: dict[Value, Argument] = {**image, **parameters, **outputs}
    lives: dict[Value, tuple[int, int]] = {}
    for step, call in enumerate(calls.calls):
        for value in call.arguments:
            if value not in places:
                lives[value] = lives.get(value, (step, step))[0], step
    placed: list[tuple[int, int, Value]] = []  # From, to (bytes), and what.
    for value, (first, last) in sorted(lives.items(), key=lambda entry: -entry[0].bytes):
        _, size = lay_out([value.bytes])
        start = 0
        for begin, end, other in sorted(placed, key=lambda entry: entry[:2]):
            if first <= lives[other][1] and lives[other][0] <= last:
                if start + size <= begin:
                    break
                start = max(start, end)
        placed.append((start, start + size, value))
        places[value] = Argument("workspace", start, value.shape, value.dtype)
    return MemoryPlan(places, max((end for _, end, _ in placed), default=ALIGNMENT), output_bytes)
