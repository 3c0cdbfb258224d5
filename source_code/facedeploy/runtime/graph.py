"""Operators in a row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from facedeploy.runtime.operator import Unit

Operator = Callable[[Unit], Unit]


@dataclass(frozen=True)
class Chain:
    """Operators one after the other, as one operator: what takes microseconds is not worth a thread of its own."""

    operators: Sequence[Operator]

    def __call__(self, unit: Unit) -> Unit:
        """Pass a unit through all of them."""
        for operator in self.operators:
            unit = operator(unit)
        return unit


@dataclass(frozen=True)
class Stage:
    """One step of a graph: `operators` do the same work, each in a thread of its own when the graph streams."""

    name: str
    operators: Sequence[Operator]

    def __post_init__(self) -> None:
        if not self.operators:
            raise ValueError(f"stage {self.name!r}: got no operator, expected at least one")


@dataclass(frozen=True)
class Graph:
    """The stages a unit of work passes, in order; `batch` is how many images a unit has."""

    stages: Sequence[Stage]
    batch: int

    def run(self, unit: Unit) -> Unit:
        """Pass one unit through every stage, in the calling thread."""
        for stage in self.stages:
            unit = stage.operators[0](unit)
        return unit
