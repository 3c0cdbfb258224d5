"""`backend.tune`: the fastest of the candidates on this machine, instead of the one that the model chooses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tvm

from facedeploy.compiler.kernels.blocked.candidates import Candidate, Choice, by_model
from facedeploy.compiler.target import Target
from facedeploy.compiler.tuning.choices_file import ChoicesFile, Measured
from facedeploy.compiler.tuning.stopwatch import microseconds_of
from facedeploy.config.build_config import BuildConfig
from facedeploy.core.version import __version__

FILE = "tuning.json"
LEAST_GAIN = 0.03  # Of the time of the model's choice: less is within what two measurements differ by.
DEFAULT_THREADS = 1


@dataclass(frozen=True)
class Tuner:
    """A Chooser. `microseconds` measures candidates; what the file knows of the same ones is not measured again."""

    file: ChoicesFile
    microseconds: Callable[[Sequence[Candidate]], list[float]]
    note: Callable[[str], None]

    def __call__(self, choice: Choice) -> tuple[Candidate, str]:
        """The choice that stands in the file, or is put there, and the figures behind it."""
        candidates = {str(candidate): candidate for candidate in choice.candidates}
        if len(candidates) == 1:
            return by_model(choice)
        measured = self.file.find(choice.specification)
        known = measured is not None and set(measured.microseconds) == set(candidates)
        if measured is None or not known or measured.choice not in candidates:
            measured = _fastest(dict(zip(candidates, self.microseconds(list(candidates.values())), strict=True)))
            self.file.add(choice.specification, measured)
            self.note(f"backend.tune: {_figures(measured, next(iter(candidates)))}")
        chosen, (model, _) = candidates[measured.choice], by_model(choice)
        figures = f"measured: {_figures(measured, str(model))}"
        return chosen, figures if chosen is not model else f"{model.reason}; {figures}"


def tuner_of(config: BuildConfig, target: Target, note: Callable[[str], None]) -> Tuner:
    """A Tuner for the artifacts of a workspace. It raises what `microseconds_of` and ChoicesFile do."""
    threads = config.backend.compile.threads or DEFAULT_THREADS
    setting = (
        f"{target.name}, {target.triple}, {threads} threads, facedeploy {__version__}, tvm {tvm.__version__}, "
        f"{' '.join(target.features)}"
    )
    file = ChoicesFile(Path(config.workspace.path) / FILE, setting)
    return Tuner(file, partial(microseconds_of, target=target, threads=threads), note)


def _fastest(microseconds: dict[str, float]) -> Measured:
    """The first, which is the model's, stays unless another one is clearly faster."""
    model, fastest = next(iter(microseconds)), min(microseconds, key=microseconds.__getitem__)
    clearly = microseconds[fastest] <= microseconds[model] * (1 - LEAST_GAIN)
    return Measured(fastest if clearly else model, microseconds)


def _figures(measured: Measured, model: str) -> str:
    taken, others = measured.microseconds, len(measured.microseconds) - 1
    if measured.choice == model:
        best = min(value for name, value in taken.items() if name != model)
        return f"{model} {taken[model]:.0f} us, against {best:.0f} us of the best of {others} others"
    return f"{measured.choice} {taken[measured.choice]:.0f} us, against {taken[model]:.0f} us of the model's choice"
