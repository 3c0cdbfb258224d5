"""Fields of a prototxt by name and type; what nothing reads is an error, since it would have meant something."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from facedeploy.core.errors import CheckpointError
from facedeploy.core.float32 import EXPECTED, is_float32
from facedeploy.core.shown import shown
from facedeploy.importers.caffe.prototxt import Message, Scalar

T = TypeVar("T")

LARGEST = 1 << 31
FLAGS = {"true": True, "True": True, "t": True, "1": True, "false": False, "False": False, "f": False, "0": False}


class Settings:
    """A section. `where` says in errors whose it is, `path` is what leads to it: `pooling_param.`.

    Every getter raises CheckpointError, which names file, line and key, for a value of another kind.
    """

    def __init__(self, message: Message, file: Path, where: str = "", path: str = "") -> None:
        self._message, self._file, self._where, self._path = message, file, where, path
        self._read: set[str] = set()
        self._opened: list[Settings] = []

    def called(self, where: str) -> "Settings":
        """The same section once it is known whose it is, which then leads to it."""
        named = Settings(self._message, self._file, where)
        named._read, named._opened = self._read, self._opened
        return named

    def has(self, key: str) -> bool:
        """Whether a field is there."""
        return key in self._message.fields

    def texts(self, key: str) -> list[str]:
        """All values of a field of texts."""
        found = self._scalars(key)
        for value in found:
            if not value.quoted:
                raise self.error(f"got {shown(value.text)}, expected a text in quotes", key, value.line)
        return [value.text for value in found]

    def text(self, key: str, default: str | None = None) -> str:
        """The value, in quotes; required without a default."""
        return self._single(key, self.texts(key), default)

    def integers(self, key: str, least: int = 0) -> list[int]:
        """All values of a field of whole numbers."""
        numbers = list[int]()
        for value in self._scalars(key):
            number = None if value.quoted else _integer(value.text)
            if number is None or not least <= number < LARGEST:
                raise self.error(f"got {shown(value.text)}, expected a whole number from {least}", key, value.line)
            numbers.append(number)
        return numbers

    def integer(self, key: str, default: int | None = None, least: int = 0) -> int:
        """The value; required without a default."""
        return self._single(key, self.integers(key, least), default)

    def numbers(self, key: str) -> list[float]:
        """All values of a field of numbers, which are finite as float32."""
        numbers = list[float]()
        for value in self._scalars(key):
            number = None if value.quoted else _number(value.text)
            if number is None or not is_float32(number):
                raise self.error(f"got {shown(value.text)}, expected {EXPECTED}", key, value.line)
            numbers.append(number)
        return numbers

    def number(self, key: str, default: float) -> float:
        """The value."""
        return self._single(key, self.numbers(key), default)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        return FLAGS[self.choice(key, "true" if default else "false", tuple(FLAGS))]

    def choice(self, key: str, default: str, known: Sequence[str]) -> str:
        """One word of those known here."""
        values = self._scalars(key)
        for value in values:
            if value.quoted or value.text not in known:
                raise self.error(f"got {shown(value.text)}, expected one of {', '.join(known)}", key, value.line)
        return self._single(key, [value.text for value in values], default)

    def sections(self, key: str) -> list["Settings"]:
        """All sections of that name."""
        self._read.add(key)
        found = list[Settings]()
        for value in self._message.fields.get(key, []):
            if isinstance(value, Scalar):
                raise self.error(f"got {shown(value.text)}, expected a section", key, value.line)
            found.append(Settings(value, self._file, self._where, f"{self._path}{key}."))
        self._opened += found
        return found

    def section(self, key: str) -> "Settings":
        """The section; an empty one where it is missing."""
        empty = Settings(Message(self._message.line, {}), self._file, self._where, f"{self._path}{key}.")
        return self._single(key, self.sections(key), empty)

    def skip(self, *keys: str) -> None:
        """These fields mean nothing here, whatever they say."""
        self._read.update(keys)

    def refuse_others(self, inside: bool = True) -> None:
        """Raise CheckpointError for the first field, here or `inside` sections that were opened, that nothing read."""
        for key, values in self._message.fields.items():
            if key not in self._read:
                raise self.error("is not supported", key, values[0].line if values else None)
        for section in self._opened if inside else ():
            section.refuse_others()

    def error(self, problem: str, key: str = "", line: int | None = None) -> CheckpointError:
        """An error about the section, or a key of it."""
        parts = [str(self._file), f"line {line or self._message.line}", self._where]
        named = [shown(f"{self._path}{key}")] if key else []
        return CheckpointError(": ".join([*filter(None, parts), *named, problem]))

    def _scalars(self, key: str) -> list[Scalar]:
        self._read.add(key)
        found = list[Scalar]()
        for value in self._message.fields.get(key, []):
            if isinstance(value, Message):
                raise self.error("got a section, expected a value", key, value.line)
            found.append(value)
        return found

    def _single(self, key: str, values: list[T], default: T | None) -> T:
        if len(values) > 1:
            raise self.error(f"is there {len(values)} times, expected once", key)
        if values:
            return values[0]
        if default is None:
            raise self.error("is missing", key)
        return default


def _integer(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


def _number(text: str) -> float | None:
    try:
        return float(text.removesuffix("f"))
    except ValueError:
        return None
