"""One measurement for each batch size, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from facedeploy.artifact.store import MANIFEST, open_artifact
from facedeploy.core.errors import ArtifactError, ConfigError
from facedeploy.core.table import aligned
from facedeploy.perf.report import PerfReport

PLACE = "{batch}"


def prefixes_of(pattern: str, batches: Sequence[int]) -> dict[int, Path]:
    """The prefix of each batch: `pattern` with `{batch}` replaced.

    Raises ConfigError for a pattern without it, ArtifactError that lists what is not there, or holds another batch.
    """
    how = "an artifact holds one batch; export with --batch N, compile with frontend.shape.input=[N, 3, H, W]"
    if PLACE not in pattern:
        raise ConfigError(
            f"--batches: got -m {pattern}, expected a prefix with {PLACE} in it, such as "
            f"deploy_weights/x_b{PLACE}/mod: {how}"
        )
    prefixes = {batch: Path(pattern.replace(PLACE, str(batch))) for batch in batches}
    folders = {path: path if path.is_dir() else path.parent for path in prefixes.values()}
    missing = [str(path) for path, folder in folders.items() if not (folder / MANIFEST).is_file()]
    if missing:
        raise ArtifactError(f"--batches: there is no artifact at {', '.join(missing)}: {how}")
    for batch, prefix in prefixes.items():
        held = open_artifact(prefix).manifest.batch
        if held != batch:
            raise ArtifactError(f"--batches: {prefix} holds batch {held}, expected {batch}: {how}")
    return prefixes


def batch_lines(reports: Mapping[int, PerfReport]) -> list[str]:
    """For a person: a line for each batch (mean ms of each stage and of the whole call), then what is to be said."""
    stages = list(next(iter(reports.values())).stage_ms)
    header = ("batch", *stages, "total", "p50", "p99", "ms/image", "images/s")
    rows = [
        (
            str(batch),
            *(f"{report.stage_ms[stage].mean:.3f}" for stage in stages),
            f"{report.latency_ms.mean:.3f}",
            report.latency_ms.percentiles["p50"],
            report.latency_ms.percentiles["p99"],
            f"{report.latency_ms.mean / batch:.3f}",
            f"{report.images_per_second:.2f}",
        )
        for batch, report in reports.items()
    ]
    said = dict.fromkeys(line for report in reports.values() for line in report.remarks())
    return [*aligned([header, *rows]), *said]
