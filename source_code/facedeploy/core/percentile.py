"""Percentiles, as far as there are samples that support them."""

from collections.abc import Sequence

import numpy as np

PERCENTS = (50, 90, 95, 99)
SAMPLES_BEYOND = 10  # Fewer would make a percentile the luck of a few calls.


def samples_needed(percent: int) -> int:
    """How many samples a percentile takes, so that 10 lie beyond it: 20 for p50, 100 for p90, 1000 for p99."""
    return -(-SAMPLES_BEYOND * 100 // (100 - percent))


def percentile(samples: Sequence[float], percent: int) -> float | None:
    """The percentile, linear between neighbors as numpy has it; None where the samples are too few."""
    return float(np.percentile(samples, percent)) if len(samples) >= samples_needed(percent) else None


def withheld_note(count: int, percents: Sequence[int] = PERCENTS) -> str:
    """Which percentiles so many samples do not support; empty when they support all."""
    missing = [percent for percent in percents if count < samples_needed(percent)]
    if not missing:
        return ""
    needed = ", ".join(f"p{percent} {samples_needed(percent)}" for percent in missing)
    return f"-: too few calls, since at least {SAMPLES_BEYOND} must lie beyond a percentile: {count}, needed: {needed}"
