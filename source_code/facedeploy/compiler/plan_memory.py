"""Where each tensor of a call list lies."""

from collections.abc import Sequence
from dataclasses import dataclass

from facedeploy.artifact.manifest import ALIGNMENT, Argument, KernelCall, Region, lay_out
from facedeploy.compiler.call_list import CallList, Value


@dataclass(frozen=True)
class MemoryPlan:
    """Each tensor's place, and the sizes of the regions."""

    places: dict[Value, Argument]
    bytes: dict[Region, int]

    def located(self, calls: CallList) -> tuple[KernelCall, ...]:
        """The calls as the manifest has them."""
        return tuple(
            KernelCall(call.kernel, tuple(self.places[value] for value in call.arguments)) for call in calls.calls
        )


def plan_memory(calls: CallList) -> MemoryPlan:
    """Parameters and outputs lie one behind the other. Tensors in between that are never needed at the same time share
    memory: largest first, each takes the lowest offset that is free from its first to its last use.
    """
    places: dict[Value, Argument] = {}
    sizes: dict[Region, int] = {}
    regions: dict[Region, Sequence[Value]] = {
        "input": [calls.input],
        "parameters": calls.parameters,
        "outputs": calls.outputs,
    }
    for region, values in regions.items():
        offsets, sizes[region] = lay_out(value.bytes for value in values)
        for value, offset in zip(values, offsets, strict=True):
            places[value] = Argument(region, offset, value.shape, value.dtype)
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
    sizes["workspace"] = max((end for _, end, _ in placed), default=ALIGNMENT)
    return MemoryPlan(places, sizes)
