"""A format that the product reads, a mutation of one of its files, and what a refusal of that must be."""

import random
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mutations import TREE, Damage, mutate

from facedeploy.core.errors import FacedeployError

LONGEST_LINE = 500  # Characters, the path of the file not counted.
MOST_LINES = 30
INTERNAL = re.compile(
    r"Traceback|<class |<function|object at 0x|pydantic|NoneType|Errno|array\(|dtype\(|np\.float|facedeploy\.[a-z]+\.|"
    r"\bself\b|Exception|mappingproxy|Unicode\w*Error|codec can't"
)
Reader = Callable[[Path], object]


@dataclass(frozen=True)
class Format:
    """`samples` are valid files, or functions that make odd ones of the format's container; `read` is the product's.

    `path` is where the file goes. A refusal names it, or else what `named` says.
    """

    name: str
    path: Path
    samples: Sequence[bytes | Callable[[random.Random], bytes]]
    read: Reader
    damages: Sequence[Damage] = TREE
    named: str = ""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutation: `loads`, `refused`, or what is wrong with that; and what was said."""

    kind: str
    said: str = ""


def mutation(each: Format, seed: int, index: int) -> tuple[str, bytes]:
    """The names of what is done to a valid file, and the result: the same for the same numbers."""
    chance = random.Random(f"{seed} {each.name} {index}")
    sample = chance.choice(each.samples)
    if callable(sample):
        return "odd contents", sample(chance)
    return mutate(chance, sample, each.damages)


def judge(each: Format, content: bytes) -> Verdict:
    """Read a file of these bytes, as the product does. A warning is noise that a user would see."""
    each.path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            each.read(each.path)
    except FacedeployError as error:
        wrong = unclear(str(error), each)
        return Verdict(wrong or "refused", str(error))
    except Exception as error:
        return Verdict("traceback", f"{type(error).__name__}: {error}")
    return Verdict("loads")


def unclear(message: str, each: Format) -> str:
    """What is wrong with a refusal, or nothing: it is one line, or a line for each problem below a first one."""
    named = each.named or str(each.path)
    first, *others = message.split("\n")
    lines = [line.replace(str(each.path.parent), "") for line in (first, *others)]
    if named not in first:
        return "names no file"
    if others and (not re.search(r": \d+ problems$", first) or not all(re.match(r"  \S", line) for line in others)):
        return "not one line"
    if len(lines) > MOST_LINES:
        return "too many lines"
    if not all(line.isprintable() for line in lines):
        return "not printable"
    if any(len(line) > LONGEST_LINE for line in lines):
        return "long line"
    if INTERNAL.search(message):
        return "internal"
    return ""
