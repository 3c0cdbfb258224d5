"""One measurement for each batch size, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from facedeploy.artifact.store import MANIFEST, open_artifact
from facedeploy.core.errors import ArtifactError
from facedeploy.core.table import aligned
from facedeploy.perf.report import PerfReport

PLACE = "{batch}"


def prefixes_of(pattern: str, batches: Sequence[int]) -> dict[int, Path]:
    """The prefix of each batch: `pattern`, which holds them all, or with its `{batch}` replaced.

    Raises ArtifactError that lists what is not there, or holds other batches.
    """
    how = "compile with the batch in frontend.shape or frontend.ladder"
    prefixes = {batch: Path(pattern.replace(PLACE, str(batch))) for batch in batches}
    folders = {path: path if path.is_dir() else path.parent for path in prefixes.values()}
    missing = [str(path) for path, folder in folders.items() if not (folder / MANIFEST).is_file()]
    if missing:
        raise ArtifactError(f"--batches: there is no artifact at {', '.join(missing)}: {how}")
    for batch, prefix in prefixes.items():
        held = {rung.batch for rung in open_artifact(prefix).manifest.ladder}
        if batch not in held:
            raise ArtifactError(f"--batches: {prefix} holds {', '.join(map(str, sorted(held)))}, not {batch}: {how}")
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
