"""Figures of one measurement."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from facedeploy.core.percentile import PERCENTS, percentile, withheld_note
from facedeploy.core.table import aligned
from facedeploy.perf.warmup import TOLERANCE

_OVERLOAD = "warning: that is more than they can do: the queue, and latency with it, grows as long as the run lasts"
_UNSTEADY = (
    f"warning: the warm-up never became steady (medians of successive calls within {TOLERANCE:.0%}): other work on "
    "this machine, or its changing clock, is in these figures"
)


@dataclass(frozen=True)
class LatencyMs:
    """Latency of a batch, or a stage's share of it, ms. A percentile is None where the samples do not support it."""

    mean: float
    min: float
    max: float
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, samples_ms: Sequence[float]) -> "LatencyMs":
        """Figures of at least one sample."""
        percentiles = (percentile(samples_ms, percent) for percent in PERCENTS)
        return cls(float(np.mean(samples_ms)), min(samples_ms), max(samples_ms), *percentiles)

    @property
    def percentiles(self) -> dict[str, str]:
        """By name, for a person: `-` for what the samples do not support."""
        values = {f"p{percent}": getattr(self, f"p{percent}") for percent in PERCENTS}
        return {name: "-" if value is None else f"{value:.3f}" for name, value in values.items()}


@dataclass(frozen=True)
class PerfReport:
    """What was run and how fast.

    `latency_ms` is of batches, from the arrival of the request; `stage_ms` are its shares, with `queue` in an open
    loop. `rate` is how many batches arrived a second, None in a closed loop. `steady` is whether the warm-up became
    so; `samples_ms` has every latency; `note` is FaceDetector's.
    """

    processes: int
    instances: int
    batch: int
    threads: int
    iterations: int
    images: int
    seconds: float
    latency_ms: LatencyMs
    stage_ms: Mapping[str, LatencyMs]
    steady: bool = True
    rate: float | None = None
    samples_ms: tuple[float, ...] = field(default=(), repr=False)
    note: str = ""

    @property
    def images_per_second(self) -> float:
        """Throughput of all processes and instances together."""
        return self.images / self.seconds

    @property
    def utilization(self) -> float | None:
        """Share of the instances' time that the rate takes; from 1 up the queue grows as long as the run lasts."""
        if self.rate is None:
            return None
        busy_ms = self.latency_ms.mean - self.stage_ms["queue"].mean
        return self.rate * busy_ms / 1000 / (self.processes * self.instances)

    def to_json(self) -> dict[str, Any]:
        """For a JSON file: all figures, without the samples."""
        figures = asdict(replace(self, samples_ms=()))
        del figures["samples_ms"]
        return {**figures, "images_per_second": self.images_per_second, "utilization": self.utilization}

    def lines(self) -> list[str]:
        """For a person."""
        latency = self.latency_ms
        percentiles = "  ".join(f"{name} {value}" for name, value in latency.percentiles.items())
        return [
            f"processes {self.processes}, instances {self.instances} each, batch {self.batch}, "
            f"threads {self.threads} an instance, iterations {self.iterations} each",
            f"throughput  {self.images_per_second:.2f} images/s ({self.images} images in {self.seconds:.2f} s)",
            f"latency ms  mean {latency.mean:.3f}  min {latency.min:.3f}  max {latency.max:.3f}  {percentiles}",
            *self._stage_table(),
            *self.remarks(),
        ]

    def remarks(self) -> list[str]:
        """What a person has to know to read the figures."""
        lines = [withheld_note(self.images // self.batch)]
        if self.rate is not None and self.utilization is not None:
            lines.append(
                f"open loop: {self.rate:g} requests/s of batch {self.batch} arrived, and latency counts from then; "
                f"they keep the instances busy {self.utilization:.1%} of the time"
            )
            if self.utilization >= 1:
                lines.append(_OVERLOAD)
        if not self.steady:
            lines.append(_UNSTEADY)
        return [line for line in lines if line]

    def _stage_table(self) -> list[str]:
        header = ("stages ms", "mean", "share", *(f"p{percent}" for percent in PERCENTS))
        rows = [
            (name, f"{times.mean:.3f}", f"{times.mean / self.latency_ms.mean:.1%}", *times.percentiles.values())
            for name, times in {**self.stage_ms, "total": self.latency_ms}.items()
        ]
        return aligned([header, *rows], left={0})
