"""JSON-like data becomes a tree of frozen dataclasses, or one error that lists every problem."""

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from facedeploy.config.describe import describe_type, describe_value, join_or, keys_of, locate, path_of, tagged_members
from facedeploy.config.parse import TOO_DEEP
from facedeploy.core.errors import ConfigError

T = TypeVar("T")

Keys = tuple[str, ...]

MOST_EXPLAINED = 100  # Problems of one file: looking for the nearest keys takes time.
MOST_SHOWN = 20


def validate(kind: type[T], data: object, source: str, renamed: Mapping[str, str] | None = None) -> T:
    """`data` (what a JSON or YAML parser gives) as a `kind`: a dataclass of dataclasses, tuples, dicts, Literals.

    Nothing is repaired: text is no number, true is no 1, 640.0 is no whole number, an unknown key is an error. Whole
    numbers do pass for numbers. `renamed` maps keys that people write to the right ones, where spelling does not tell.
    Raises ConfigError that starts with `source` (the file) and has a line `key.path: got X, expected Y` per problem.
    """
    try:
        # JSON, because strict pydantic takes JSON's lists and objects for tuples and dataclasses, and nothing else.
        return cast("T", _adapter(kind).validate_json(json.dumps([data]))[0])  # type: ignore[arg-type]  # mypy: no hash.
    except RecursionError:
        raise ConfigError(f"{source}: {TOO_DEEP}") from None
    except ValidationError as error:
        errors = error.errors(include_url=False)
    problems = _problems(kind, errors[:MOST_EXPLAINED], renamed or {})
    raise ConfigError(in_lines(source, problems, len(errors[MOST_EXPLAINED:])))


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    """What validates a `kind`: made once, since that takes ten times as long as to use it."""
    # The tuple around `kind` is there because a dataclass takes a config from the type around it only.
    boxed: Any = tuple[kind]  # type: ignore[valid-type]
    return TypeAdapter(boxed, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))


def in_lines(source: str, problems: list[str], unexplained: int = 0) -> str:
    """One problem on the line of its source; several below it, the first of them if there are many."""
    total = len(problems) + unexplained
    if total == 1:
        return f"{source}: {problems[0]}"
    lines = problems[:MOST_SHOWN]
    if total > len(lines):
        lines.append(f"... and {total - len(lines)} more")
    return f"{source}: {total} problems" + "".join(f"\n  {line}" for line in lines)


def _problems(kind: type, errors: list[ErrorDetails], renamed: Mapping[str, str]) -> list[str]:
    """A line per problem, in order and once: a union reports each member it tried."""
    unknown = [error["loc"][1:] for error in errors if error["type"] == "unexpected_keyword_argument"]
    explained: set[Keys] = set()
    lines: list[str] = []
    for location in unknown:
        line, meant = _unknown_key(kind, location, renamed)
        lines.append(line)
        explained |= meant
    for error in errors:
        location = error["loc"][1:]
        if location not in unknown and locate(kind, location)[0] not in explained:
            lines.extend(_lines(kind, location, error))
    return list(dict.fromkeys(lines))


def _unknown_key(kind: type, location: tuple[int | str, ...], renamed: Mapping[str, str]) -> tuple[str, set[Keys]]:
    """The line for a key that does not exist, and the keys whose absence it explains."""
    keys, section = locate(kind, location[:-1])
    key = str(location[-1])
    known = keys_of(section)
    path = path_of((*keys, key))
    if keys and key == keys[-1]:
        return _nested(keys), {(*keys, name) for name in known}
    nearest = renamed[key] if renamed.get(key) in known else next(iter(get_close_matches(key, known, 1)), None)
    if nearest:
        return f"{path}: unknown key, did you mean {nearest}?", {(*keys, nearest)}
    return f"{path}: unknown key, expected one of {', '.join(known)}", set()


def _nested(keys: Keys) -> str:
    return f"{path_of((*keys, keys[-1]))}: the section is nested in itself, move its keys up into {path_of(keys)}"


def _lines(kind: type, location: tuple[int | str, ...], error: ErrorDetails) -> Iterator[str]:
    too_short = error["type"] == "missing" and isinstance(location[-1], int)
    keys, expected = locate(kind, location[:-1] if too_short else location)
    path = path_of(keys)
    where = f"{path}: " if path else ""
    match error["type"]:
        case "missing" if not too_short:
            yield f"{where}is missing, expected {describe_type(expected)}"
        case "value_error":  # Raised by a dataclass of ours, in words: a line per problem, perhaps "key: ...".
            for line in str(error["ctx"]["error"]).splitlines():
                of_key = path and line.partition(":")[0].partition(".")[0] in keys_of(expected)
                yield f"{path}.{line}" if of_key else f"{where}{line}"
        case "union_tag_not_found" if keys and keys[-1] in error["input"]:
            yield _nested(keys)
        case "union_tag_not_found":
            yield f"{path}.type: is missing, expected {join_or(tagged_members(expected))}"
        case "union_tag_invalid":
            got, known = str(error["ctx"]["tag"]), tagged_members(expected)
            nearest = get_close_matches(got, known, 1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            yield f"{path}.type: got {describe_value(got)}, expected {join_or(known)}{hint}"
        case "json_invalid":
            # Its words and place are of our JSON, not of the file: in ours nothing else can be wrong.
            yield TOO_DEEP if "recursion" in error["ctx"]["error"] else "has text that is not Unicode"
        case _:
            yield f"{where}got {describe_value(error['input'])}, expected {describe_type(expected)}"
