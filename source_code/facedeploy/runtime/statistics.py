"""What each stage of a stream did: which one the others wait for."""

from dataclasses import asdict, dataclass
from typing import Any

from facedeploy.core.percentile import withheld_note
from facedeploy.core.table import aligned

PERCENTS = (50, 95)


@dataclass(frozen=True)
class StageStatistics:
    """One stage's figures; times in s are those of all its workers together.

    `units` are calls, each of a batch of `images`; `failed` are images that could not be used from here on. `busy_s` is
    time in calls by the wall's clock, `cpu_s` the CPU time of the calling threads in it, without that of threads and
    processes that they employ; `busy_share` is the share of their time that its workers were busy, also with stages
    that are joined to this one. A stage waits for input; for
    room only the input does, since all that is under way is bounded together. `queue_length` is how many units waited
    before the stage, on average over the run. `p50_ms` and `p95_ms` are of an image's time in the stage, which is its
    unit's call, of each worker's latest 10,000; None where the calls are too few.
    """

    name: str
    workers: int
    units: int
    images: int
    failed: int
    busy_s: float
    cpu_s: float
    input_wait_s: float
    room_wait_s: float
    busy_share: float
    queue_length: float
    p50_ms: float | None
    p95_ms: float | None

    @property
    def busy_ms(self) -> float:
        """Time in calls an image, ms; 0 where there was none."""
        return 1000 * self.busy_s / self.images if self.images else 0.0

    @property
    def cpu_ms(self) -> float:
        """CPU time an image, ms; 0 where there was none."""
        return 1000 * self.cpu_s / self.images if self.images else 0.0


@dataclass(frozen=True)
class StreamStatistics:
    """One run of a stream: `seconds` that it took, and its stages in order.

    The first of `stages` is `input`, at work while the source makes a unit; the last is `output`, at work while the
    consumer has a result. `cpu_s` is CPU time of this process, all its threads together; `cpus` is how many CPUs it
    may use.
    """

    seconds: float
    cpu_s: float
    cpus: int
    stages: tuple[StageStatistics, ...]

    @property
    def bottleneck(self) -> StageStatistics:
        """The stage whose workers were busy for the largest share of the time, of joined ones that took longest."""
        return max(self.stages, key=lambda stage: (stage.busy_share, stage.busy_s))

    @property
    def cpu_share(self) -> float:
        """How much of the CPUs' time this process used."""
        return self.cpu_s / (self.seconds * self.cpus)

    def to_json(self) -> dict[str, Any]:
        """For a JSON file: all figures."""
        stages = [{**asdict(stage), "busy_ms": stage.busy_ms, "cpu_ms": stage.cpu_ms} for stage in self.stages]
        return {**asdict(self), "cpu_share": self.cpu_share, "stages": stages, "bottleneck": self.bottleneck.name}

    def lines(self) -> list[str]:
        """A table for a person: a worker is busy, waits `for input` or waits `for room`, as shares of its time."""
        header = ("stage", "workers", "images", "failed", "ms/image", "CPU ms", "busy", "for input", "for room")
        rows = [
            (
                stage.name,
                *map(str, (stage.workers, stage.images, stage.failed)),
                *(f"{figure:.3f}" for figure in (stage.busy_ms, stage.cpu_ms)),
                *(self._share(stage, wait) for wait in (stage.busy_s, stage.input_wait_s, stage.room_wait_s)),
                *("-" if figure is None else f"{figure:.3f}" for figure in (stage.p50_ms, stage.p95_ms)),
                f"{stage.queue_length:.2f}",
            )
            for stage in self.stages
        ]
        table = aligned([(*header, *(f"p{percent} ms" for percent in PERCENTS), "queue"), *rows], left={0})
        note = withheld_note(min(stage.units for stage in self.stages), PERCENTS)
        return [*table, note] if note else table

    def _share(self, stage: StageStatistics, seconds: float) -> str:
        return f"{seconds / (self.seconds * stage.workers):.1%}"
