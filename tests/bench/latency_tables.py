"""docs/latency.md and its picture, by `facedeploy latency` over the detectors. Run by hand, on a quiet machine:

    python tests/bench/latency_tables.py WORK [--tables light int8] [--iterations 50]

Checkpoints and images to calibrate with come from FACEDEPLOY_DATA (default ../shared), and are linked or exported into
the folder WORK, where artifacts stay for the next time: about a hundred, which take an hour to compile on two cores,
and measuring then ten minutes. Each table is kept in WORK as well, so that a run of some leaves the others as they are.
"""

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("FACEDEPLOY_DATA", REPOSITORY.parent / "shared")).resolve()
DOCS = REPOSITORY / "docs"
PICTURE = "latency.png"
SIZES = ("160x140", "320x240", "640x480", "1280x720", "1920x1080")
# Other sizes YuNet does not take, and faster-mobile-retinaface crops otherwise at, which its integers are not for.
BY_32 = ("160x160", "320x256", "640x480", "1280x736", "1920x1088")
LIGHT = ("mobilenet0.25", "slim", "RFB", "faster_mobile_16and32")
LFFD = ("lffd_face_v1", "lffd_face_v2")
# LFFD's face nets have no config of int8.
CALIBRATE = ("--dtype", "int8", "--set", "backend.quantize={}")
RANDOM = ("--set", "frontend.random_weights=0")
PUBLISHED = "Published by others"

# Name of --model_name -> its checkpoint; a net without one has random weights.
EXPORTS = {
    "mobilenet0.25": "mobilenet0.25_Final.pth",
    "slim": "slim_Final.pth",
    "RFB": "RFB_Final.pth",
    "mobilenet0.25_FD1MB": "mobilenet0.25_FD1MB_Final.pth",
    "lightDSFD": "light_DSFD.pth",
    "Resnet50": None,
    "DSFD": None,
}


@dataclass(frozen=True)
class Table:
    """A run of the verb, with the configs of `dtype`. `published`: whether the figures of others stand below it."""

    title: str
    nets: tuple[str, ...]
    options: tuple[str, ...]
    published: bool = True
    dtype: str = "fp32"

    def words(self) -> list[str]:
        """What stands behind `facedeploy`, but for what is the same in all tables."""
        return ["latency", "--config", *(f"build_in/build/{net}_{self.dtype}.yaml" for net in self.nets), *self.options]


TABLES = {
    "light": Table("Light detectors, fp32", LIGHT, ("--sizes", *SIZES)),
    "4k": Table("Light detectors at 4K, fp32", LIGHT, ("--sizes", "3840x2160")),
    "int8": Table("Light detectors, int8", LIGHT[:3], ("--sizes", *SIZES), published=False, dtype="int8"),
    "yunet": Table(
        "YuNet, fp32, whose canvases have sides that 32 divides", ("yunet",), ("--sizes", *BY_32), published=False
    ),
    "int8_by_32": Table(
        "YuNet and faster-mobile-retinaface, int8, on such canvases",
        ("yunet", "faster_mobile_16and32"),
        ("--sizes", *BY_32),
        published=False,
        dtype="int8",
    ),
    "lffd": Table("LFFD's face nets, fp32", LFFD, (*RANDOM, "--sizes", *SIZES), published=False),
    "lffd_int8": Table(
        "LFFD's face nets, int8", LFFD, (*CALIBRATE, *RANDOM, "--sizes", *SIZES), published=False
    ),
    "others": Table(
        "Other detectors, fp32",
        ("mobilenet0.25_FD1MB", "lightDSFD", "insightface_mnet.25", "insightface_mnet25_caffe", "faster_mobile_16",
         "faster_mobile_8and16", "lffd_head", "lffd_plate"),
        ("--sizes", *SIZES[1:]),
        published=False,
    ),
    "scales": Table(
        "Scales 0.1, 0.4, 1 and 2 of VGA, as faster-mobile-retinaface has them",
        ("faster_mobile_16and32", "mobilenet0.25"),
        ("--scales", "0.1", "0.4", "1", "2"),
    ),
    "dsfd": Table(
        "1024x687, as DSFD-Pytorch-Inference has it",
        ("DSFD", "resnet50", "mobilenet0.25"),
        ("--sizes", "1024x687"),
    ),
}  # fmt: skip

HEAD = """# Latency by size

What `facedeploy latency` measured: each detector is compiled for a canvas of exactly each size, and runs on images of
that size, which are random pixels. The model call is what others publish; the whole detection has preprocessing and
post-processing besides. LFFD's face nets, Resnet50 and DSFD are measured with seeded random weights, with which the
model is as fast; but such a net gives a score to every cell, so that LFFD's post-processing takes as long as it can.
The machine is shared with other work, which the first figures of a table may have had more of than the last: repeat it
on a quiet one before taking a figure from here.

`python tests/bench/latency_tables.py WORK` made this page, by the command above each table in a folder that has the
checkpoints where the configs name them.

![Model calls by size](latency.png)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES), metavar="|".join(TABLES))
    parser.add_argument("--iterations", type=int, default=50)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    link(work)
    for name in arguments.tables:
        table = TABLES[name]
        export(work, table)
        words = [*table.words(), "--threads", "1", "--iterations", str(arguments.iterations)]
        more = ["--plot", str(DOCS / PICTURE)] if name == "light" else []
        said = facedeploy(work, *words, *more)
        (work / f"{name}.md").write_text(section(table, words, said))
        found = [work / f"{name}.md" for name in TABLES if (work / f"{name}.md").is_file()]
        (DOCS / "latency.md").write_text("\n".join([HEAD, *(path.read_text() for path in found)]))


def link(work: Path) -> None:
    """Checkpoints and images where the shipped configs look for them."""
    weights = work / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    files = [
        path for folder in ("", "mxnet", "mxnet/lffd", "caffe") for path in (DATA / "weights" / folder).glob("*.*")
    ]
    wanted = {path.name.replace(".ShiqiYu", ""): path for path in files if path.is_file()}
    for place, target in (*((weights / name, path) for name, path in wanted.items()),
                          (work / "widerface_calib", DATA / "data" / "wider_calib")):  # fmt: skip
        if not place.is_symlink():
            place.symlink_to(target)


def export(work: Path, table: Table) -> None:
    """The ONNX files of a table's nets, unless they are there."""
    for name, checkpoint in EXPORTS.items():
        needed = {name, name.lower()} & set(table.nets)
        if needed and not (work / "export_model" / f"{name}_640.onnx").is_file():
            weights = ("--weight_path", f"weights/{checkpoint}") if checkpoint else ("--random_weights", "0")
            facedeploy(work, "export", "--model_name", name, *weights, "--size", "640")


def section(table: Table, words: list[str], said: str) -> str:
    """The table as Markdown, of what the verb printed: notes come first there, and the figures of others last."""
    measured, _, published = said.partition(PUBLISHED)
    tables = measured[measured.index("Model call, ms") :].rstrip()
    command = f"    facedeploy {' '.join(words)}"
    parts = [f"## {table.title}", command, tables]
    if table.published and published:
        parts.append(f"{PUBLISHED}{published.rstrip()}")
    return "\n\n".join(parts) + "\n"


def facedeploy(work: Path, *words: str) -> str:
    """Run a verb in the folder; what it prints. Its errors end the program."""
    code = "import sys; from facedeploy.cli.main import main; sys.exit(main(sys.argv[1:]))"
    print("facedeploy", *words, flush=True)
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=work, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


if __name__ == "__main__":
    main()
