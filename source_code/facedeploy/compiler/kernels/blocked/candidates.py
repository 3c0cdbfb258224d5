"""Kernels that compute the same, of which one is chosen: by the model of their cost, or by measurement."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from facedeploy.compiler.kernels.blocked import winograd
from facedeploy.compiler.kernels.blocked.amx_dense import amx_convolution, amx_tile
from facedeploy.compiler.kernels.blocked.cascade import FirstLayerSpec, SeparableSpec, cascade, cascade_tiles
from facedeploy.compiler.kernels.blocked.depthwise import separable_convolution, separable_tiles
from facedeploy.compiler.kernels.blocked.direct import (
    Source,
    Window,
    direct_convolution,
    direct_tiles,
    integer_tiles,
)
from facedeploy.compiler.kernels.blocked.emit import Epilogue
from facedeploy.compiler.kernels.blocked.integers import IntegerArithmetic, has_amx
from facedeploy.compiler.kernels.blocked.layout import Blocked
from facedeploy.compiler.kernels.blocked.tiling import Tile
from facedeploy.compiler.target import Target


@dataclass(frozen=True)
class Candidate:
    """One way to compute it. `sizes` tells it from others of its algorithm; `reason`, why the model likes it.

    `build(name)` makes the PrimFunc.
    """

    algorithm: Literal["direct", "winograd", "separable", "cascade", "amx"]
    sizes: str
    reason: str
    build: Callable[[str], Any]

    def __str__(self) -> str:
        """What tells it apart from the others of the same kernel."""
        return f"{self.algorithm}, {self.sizes}"


@dataclass(frozen=True)
class Choice:
    """`candidates`, that which the model chooses first; `specification` says all that their code depends on."""

    specification: str
    candidates: Sequence[Candidate]


# Takes one of the candidates, and says why.
Chooser = Callable[[Choice], tuple[Candidate, str]]


def by_model(choice: Choice) -> tuple[Candidate, str]:
    """A Chooser that measures nothing."""
    first = choice.candidates[0]
    return first, first.reason


def dense_convolution(
    sources: Sequence[Source], output: Blocked, window: Window, epilogue: Epilogue, target: Target
) -> Choice:
    """By Winograd's algorithm where that applies, else direct."""

    def direct(tile: Tile) -> Candidate:
        def build(name: str) -> Any:
            return direct_convolution(name, sources, output, window, epilogue, target, tile)[0]

        return Candidate("direct", str(tile), tile.reason, build)

    def by_winograd(tile: Tile) -> Candidate:
        def build(name: str) -> Any:
            return winograd.winograd_convolution(name, sources, output, epilogue, target, tile, window)[0]

        return Candidate("winograd", str(tile), tile.reason, build)

    candidates = [direct(tile) for tile in direct_tiles(sources, output, window, target)]
    if winograd.takes(window) and winograd.pays(sources, output, window):
        candidates = [*map(by_winograd, winograd.winograd_tiles(sources, output, target, window)), candidates[0]]
    return Choice(f"dense {window} of {list(sources)} to {output} with {epilogue}", candidates)


def integer_convolution(
    sources: Sequence[Source], output: Blocked, window: Window, epilogue: Epilogue, target: Target
) -> Choice:
    """Of u8: in tiles where the target has them, else direct."""
    if has_amx(target):
        tile = amx_tile(sources, output, window)

        def in_tiles(name: str) -> Any:
            return amx_convolution(name, sources, output, window, epilogue, target)[0]

        specification = f"integers in tiles, {window} of {list(sources)} to {output} with {epilogue}"
        return Choice(specification, [Candidate("amx", str(tile), tile.reason, in_tiles)])

    def candidate(tile: Tile) -> Candidate:
        def build(name: str) -> Any:
            arithmetic = IntegerArithmetic(target)
            return direct_convolution(name, sources, output, window, epilogue, target, tile, arithmetic)[0]

        return Candidate("direct", str(tile), tile.reason, build)

    candidates = [candidate(tile) for tile in integer_tiles(sources, output, window, target)]
    return Choice(f"integers, {window} of {list(sources)} to {output} with {epilogue}", candidates)


def separable(
    source: Blocked, output: Blocked, window: Window, slope: float, epilogue: Epilogue, target: Target
) -> Choice:
    """A depthwise convolution and the pointwise one behind it."""

    def candidate(tile: Tile) -> Candidate:
        def build(name: str) -> Any:
            return separable_convolution(name, source, output, window, slope, epilogue, target, tile)[0]

        return Candidate("separable", str(tile), tile.reason, build)

    candidates = [candidate(tile) for tile in separable_tiles(source, output, target)]
    return Choice(f"separable {window} of {source}, slope {slope}, to {output} with {epilogue}", candidates)


def chain(
    source: Blocked | tuple[int, int, int, int], layers: Sequence[FirstLayerSpec | SeparableSpec], target: Target
) -> Choice:
    """A first layer and separable convolutions, each row passed on."""

    def candidate(tiles: Sequence[Tile]) -> Candidate:
        def build(name: str) -> Any:
            return cascade(name, source, layers, target, tiles)[0]

        sizes = ", ".join(f"{tile.pixels} x {tile.blocks}" for tile in tiles)
        return Candidate("cascade", sizes, "; ".join(tile.reason for tile in tiles), build)

    return Choice(f"cascade of {source} by {list(layers)}", list(map(candidate, cascade_tiles(layers, target))))
