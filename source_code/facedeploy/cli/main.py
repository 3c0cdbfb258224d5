"""`facedeploy VERB`: the table of verbs and the one place where errors become exit codes."""

import argparse
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, cast

from facedeploy.core.errors import FacedeployError
from facedeploy.core.version import __version__


class Verb(Protocol):
    """What a verb's module has. Its heavy imports happen inside `run`, so that --help answers at once."""

    DESCRIPTION: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do the work, print the result, return the exit code."""


@dataclass(frozen=True)
class VerbEntry:
    """Where a verb lives, and its line in `facedeploy --help`."""

    module: str
    summary: str


VERBS = {
    "list": VerbEntry("facedeploy.cli.list", "detectors, known checkpoints, heads, and targets with what runs here"),
    "export": VerbEntry("facedeploy.cli.export", "checkpoint -> TorchScript and ONNX"),
    "compile": VerbEntry("facedeploy.cli.compile", "build YAML -> artifact (mod.so, mod.params, mod.json)"),
    "quantize": VerbEntry("facedeploy.cli.quantize", "int8 build YAML and images -> QDQ ONNX"),
    "run": VerbEntry("facedeploy.cli.run", "stream images or video through an artifact, write what is found"),
    "perf": VerbEntry("facedeploy.cli.perf", "throughput and latency of an artifact; npz files in and out"),
    "latency": VerbEntry("facedeploy.cli.latency", "latency of detectors at many sizes, beside published tables"),
    "profile": VerbEntry("facedeploy.cli.profile", "where an artifact's time goes, kernel by kernel, beside peers"),
    "compare": VerbEntry(
        "facedeploy.cli.compare", "how far an artifact's tensors and faces are from the float model's"
    ),
    "image2npz": VerbEntry("facedeploy.cli.image2npz", "images -> npz files and a list of them"),
    "npz-decode": VerbEntry("facedeploy.cli.npz_decode", "output npz files -> WIDER FACE prediction files"),
    "eval": VerbEntry("facedeploy.cli.eval", "WIDER FACE average precision of prediction files"),
    "fddb-results": VerbEntry("facedeploy.cli.fddb_results", "prediction files -> one file of results in FDDB's form"),
    "eval-fddb": VerbEntry("facedeploy.cli.eval_fddb", "the ROC of FDDB of such a file"),
}

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM, by which timeout(1), systemd and containers end a process: it ends as by Ctrl-C, and leaves as much."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `facedeploy VERB ...`; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in VERBS:
        return run_verb(arguments[0], arguments[1:], prog=f"facedeploy {arguments[0]}")
    width = max(map(len, VERBS))
    parser = argparse.ArgumentParser(
        prog="facedeploy",
        description="From a face detector's checkpoint to measured detections on a device.",
        epilog="verbs:\n" + "\n".join(f"  {name:<{width}}  {entry.summary}" for name, entry in VERBS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"facedeploy {__version__}")
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="one of the verbs below; VERB --help tells more")
    parser.parse_args(arguments[:1])
    return EXIT_USER_ERROR  # Not reached: anything but a verb has made argparse exit.


def run_verb(verb: str, argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Parse `argv` (default: the process's) for one verb and run it; returns the exit code."""
    module = cast("Verb", importlib.import_module(VERBS[verb].module))
    parser = argparse.ArgumentParser(
        prog=prog, description=module.DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    arguments = parser.parse_args(argv)
    try:
        with _terminable():
            return module.run(arguments)
    except FacedeployError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except Terminated:
        print(f"{parser.prog}: terminated", file=sys.stderr)
        return EXIT_TERMINATED
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: that is no error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # What the machine refuses, and nobody has put in words before.
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises Terminated in the block; only the main thread can have it so."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
