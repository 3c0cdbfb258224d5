"""Figures of one measurement."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class LatencyMs:
    """Latency of a batch, ms."""

    mean: float
    min: float
    max: float
    p50: float
    p90: float
    p95: float
    p99: float

    @classmethod
    def of(cls, samples_ms: Sequence[float]) -> "LatencyMs":
        """Figures of at least one sample."""
        p50, p90, p95, p99 = np.percentile(samples_ms, [50, 90, 95, 99])
        return cls(
            float(np.mean(samples_ms)), min(samples_ms), max(samples_ms), float(p50), float(p90), float(p95), float(p99)
        )


@dataclass(frozen=True)
class PerfReport:
    """What was run and how fast: `stage_ms` is the median of each stage, per batch; `note` is FaceDetector's."""

    processes: int
    instances: int
    batch: int
    threads: int
    iterations: int
    images: int
    seconds: float
    latency_ms: LatencyMs
    stage_ms: Mapping[str, float]
    note: str = ""

    @property
    def images_per_second(self) -> float:
        """Throughput of all processes and instances together."""
        return self.images / self.seconds

    def to_json(self) -> dict[str, Any]:
        """For a JSON file."""
        return {**asdict(self), "images_per_second": self.images_per_second}

    def lines(self) -> list[str]:
        """For a person."""
        latency = self.latency_ms
        return [
            f"processes {self.processes}, instances {self.instances} each, batch {self.batch}, "
            f"threads {self.threads} an instance, iterations {self.iterations} each",
            f"throughput  {self.images_per_second:.2f} images/s ({self.images} images in {self.seconds:.2f} s)",
            f"latency ms  mean {latency.mean:.3f}  min {latency.min:.3f}  max {latency.max:.3f}  "
            f"p50 {latency.p50:.3f}  p90 {latency.p90:.3f}  p95 {latency.p95:.3f}  p99 {latency.p99:.3f}",
            "stages ms   " + "  ".join(f"{name} {value:.3f}" for name, value in self.stage_ms.items()) + "  (median)",
        ]
