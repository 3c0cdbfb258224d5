"""Operators in a row, and the threads they have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from facedeploy.runtime.operator import Unit

Operator = Callable[[Unit], Unit]


@dataclass(frozen=True)
class Stage:
    """One step of a graph: `operators` do the same work, each in a thread of its own when the graph streams.

    A `joined` stage does its part in the threads of the stage before it, since a step of microseconds is not worth a
    queue: by one operator that they share, or one for each of them.
    """

    name: str
    operators: Sequence[Operator]
    joined: bool = False

    def __post_init__(self) -> None:
        if not self.operators:
            raise ValueError(f"stage {self.name!r}: got no operator, expected at least one")


@dataclass(frozen=True)
class Team:
    """Stages that share their threads."""

    stages: Sequence[Stage]

    def __post_init__(self) -> None:
        for stage in self.stages:
            if len(stage.operators) not in (1, self.workers):
                raise ValueError(
                    f"stage {stage.name!r}: got {len(stage.operators)} operators, expected 1 or {self.workers}: "
                    f"{', '.join(each.name for each in self.stages)} share their threads"
                )

    @property
    def workers(self) -> int:
        """How many threads."""
        return max(len(stage.operators) for stage in self.stages)

    def operators(self, worker: int) -> list[Operator]:
        """What one of the threads does with each unit, in order."""
        return [stage.operators[worker % len(stage.operators)] for stage in self.stages]


@dataclass(frozen=True)
class Graph:
    """The stages a unit of work passes, in order; `batch` is how many images a unit has."""

    stages: Sequence[Stage]
    batch: int

    @property
    def teams(self) -> list[Team]:
        """The stages by the threads they have."""
        teams: list[list[Stage]] = []
        for stage in self.stages:
            if stage.joined and teams:
                teams[-1].append(stage)
            else:
                teams.append([stage])
        return [Team(stages) for stages in teams]

    def run(self, unit: Unit) -> Unit:
        """Pass one unit through every stage, in the calling thread."""
        for stage in self.stages:
            unit = stage.operators[0](unit)
        return unit
