"""Where the priors of a head lie: a grid of cells for each level."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """A grid of `rows` x `columns` cells of `stride` px, row major, with so many `priors` in each."""

    stride: int
    rows: int
    columns: int
    priors: int

    @property
    def count(self) -> int:
        """Priors of all cells."""
        return self.rows * self.columns * self.priors


class Leveled(ABC):
    """A head whose priors lie on levels, one level's behind the other's."""

    @abstractmethod
    def levels(self, canvas_hw: tuple[int, int]) -> tuple[Level, ...]:
        """The levels on a canvas of (height, width) px."""

    @abstractmethod
    def described(self) -> str:
        """The levels in words of a build config, for messages."""

    def count(self, canvas_hw: tuple[int, int]) -> int:
        """Number of priors on a canvas of (height, width) px."""
        return sum(level.count for level in self.levels(canvas_hw))


def covering(
    strides: Sequence[int], priors: Sequence[Sequence[object]], canvas_hw: tuple[int, int]
) -> tuple[Level, ...]:
    """Levels whose cells cover every px of the canvas, with as many priors in each as `priors` lists."""
    height, width = canvas_hw
    return tuple(
        Level(stride, -(-height // stride), -(-width // stride), len(each))
        for stride, each in zip(strides, priors, strict=True)
    )


def check_levels(**lists: tuple[object, ...]) -> None:
    """Raise ValueError unless the lists are as long as the first one, and not empty."""
    (name, first), *others = lists.items()
    if not first:
        raise ValueError(f"{name}: got an empty list, expected a level or more")
    for other, values in others:
        if len(values) != len(first):
            raise ValueError(f"{other} has {len(values)} levels, {name} {len(first)}: they must agree")
