"""The text of a .prototxt, which is protobuf's text format, becomes a tree of fields that know their lines."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from facedeploy.core.errors import CheckpointError
from facedeploy.core.shown import shown

MAX_BYTES = 1 << 24
MAX_DEPTH = 20
TOKEN = re.compile(
    r"(?P<space>\s+|#[^\n]*)"
    r"|(?P<quoted>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')"
    r"|(?P<word>[-+]?[A-Za-z0-9_.][-+A-Za-z0-9_.]*)"
    r"|(?P<mark>[][{}<>:;,])"
)
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
CLOSED_BY = {"{": "}", "<": ">"}
ESCAPE = re.compile(r"\\(.)")
ESCAPED = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}


@dataclass(frozen=True)
class Scalar:
    """A number, a word or a quoted text, as the file has it but for quotes and escapes."""

    line: int
    text: str
    quoted: bool


@dataclass(frozen=True)
class Message:
    """The fields of a section, each with its values in order."""

    line: int
    fields: dict[str, list["Scalar | Message"]]


@dataclass(frozen=True)
class _Token:
    line: int
    kind: str
    text: str


def read_prototxt(path: Path) -> Message:
    """Raises CheckpointError, which names the line: unreadable, too large, not UTF-8, not protobuf's text format."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CheckpointError(f"{path}: is {size:,} bytes, expected the text of a net (.prototxt)")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{path}: is not text (byte {error.start} is not UTF-8), expected the .prototxt of a Caffe net"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    return _Parser(text, path).message()


class _Parser:
    def __init__(self, text: str, path: Path) -> None:
        self._path = path
        self._tokens = self._split(text)
        self._next = next(self._tokens)

    def message(self, closed_by: str = "", depth: int = 0) -> Message:
        """Fields up to the mark that closes them, or to the end of the file."""
        opened = self._next.line
        if depth > MAX_DEPTH:
            raise self._error(opened, f"sections are nested more than {MAX_DEPTH} deep")
        fields: dict[str, list[Scalar | Message]] = {}
        while self._next.text != closed_by or self._next.kind not in ("mark", "end"):
            name = self._take()
            if name.kind == "end":
                raise self._error(name.line, f"the file ends inside a section, {closed_by} is missing")
            if name.kind != "word" or not NAME.fullmatch(name.text):
                raise self._error(name.line, f"got {shown(name.text)}, expected the name of a field")
            fields.setdefault(name.text, []).extend(self._values(name, depth))
            if self._next.kind == "mark" and self._next.text in ",;":
                self._take()
        self._take()
        return Message(opened, fields)

    def _values(self, name: _Token, depth: int) -> list[Scalar | Message]:
        colon = self._next.kind == "mark" and self._next.text == ":"
        if colon:
            self._take()
        if not (self._next.kind == "mark" and self._next.text == "["):
            return [self._value(name, colon, depth)]
        values = list[Scalar | Message]()
        while self._take().text != "]":  # The bracket that opens the list, or a comma.
            if not values and self._next.kind == "mark" and self._next.text == "]":
                continue
            values.append(self._value(name, colon, depth))
            if self._next.kind != "mark" or self._next.text not in ",]":
                raise self._error(self._next.line, f"got {shown(self._next.text)} in the list of {shown(name.text)}")
        return values

    def _value(self, name: _Token, colon: bool, depth: int) -> Scalar | Message:
        token = self._take()
        if token.kind == "mark" and token.text in CLOSED_BY:
            return self.message(CLOSED_BY[token.text], depth + 1)
        if token.kind not in ("word", "quoted") or not colon:
            got = shown(token.text) if token.text else "the end of the file"
            raise self._error(token.line, f"got {got} after {shown(name.text)}, expected a value or a section")
        text = token.text
        while token.kind == "quoted" and self._next.kind == "quoted":  # Pieces of one text.
            text += self._take().text
        return Scalar(token.line, text, token.kind == "quoted")

    def _take(self) -> _Token:
        token, self._next = self._next, next(self._tokens, self._next)
        return token

    def _split(self, text: str) -> Iterator[_Token]:
        """The tokens, then an end of no text without end."""
        place, line = 0, 1
        while place < len(text):
            match = TOKEN.match(text, place)
            if match is None:
                raise self._error(line, f"{shown(text[place : place + 20])} is not protobuf's text format")
            kind, found = str(match.lastgroup), match[0]
            if kind == "quoted":
                yield _Token(line, kind, self._unescaped(line, found[1:-1]))
            elif kind != "space":
                yield _Token(line, kind, found)
            line += found.count("\n")
            place = match.end()
        while True:
            yield _Token(line, "end", "")

    def _unescaped(self, line: int, text: str) -> str:
        unknown = [escape for escape in ESCAPE.findall(text) if escape not in ESCAPED]
        if unknown:
            raise self._error(line, f"the escape \\{shown(unknown[0])} is not known here")
        return ESCAPE.sub(lambda match: ESCAPED[match[1]], text)

    def _error(self, line: int, problem: str) -> CheckpointError:
        return CheckpointError(f"{self._path}: line {line}: {problem}")
