"""Types, values and key paths in plain words, for messages."""

import dataclasses
import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from facedeploy.core.shown import shown

WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    types.NoneType: "null",
}
LONGEST_VALUE = 60


def describe_type(kind: Any) -> str:
    """What a value of a type looks like: `Literal["a", "b"]` is 'a or b'.

    An Annotated type is described by the description of its pydantic Field, where that has one.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        described = (extra.description for extra in arguments[1:] if isinstance(extra, FieldInfo))
        return next(filter(None, described), None) or describe_type(arguments[0])
    if members := tagged_members(kind):
        return f"a section whose type is {join_or(members)}"
    if origin in (Union, types.UnionType):
        return join_or(map(describe_type, arguments))
    if origin is Literal:
        return join_or(map(str, arguments))
    if origin is tuple:
        length = "" if arguments[-1] is Ellipsis else f" of {len(arguments)}"
        return f"a list{length}, each {describe_type(arguments[0])}"
    if origin is dict:
        return "a section"
    if dataclasses.is_dataclass(kind):
        return f"a section with {', '.join(keys_of(kind))}"
    return WORDS.get(kind, str(kind))


def describe_value(value: object) -> str:
    """A value much as the file has it; text keeps its quotes, so that '640' is told from 640."""
    if isinstance(value, dict):
        return "a section" if value else "an empty section"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except RecursionError:
        return "values nested too deeply"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def path_of(keys: Iterable[str]) -> str:
    """Keys as a path `section.key`."""
    return ".".join(map(shown, keys))


def join_or(words: Iterable[str]) -> str:
    """The words 'a', 'b', 'c' become 'a, b or c'; a repeated one is said once."""
    *head, last = dict.fromkeys(words)
    return f"{', '.join(head)} or {last}" if head else last


def keys_of(kind: Any) -> list[str]:
    """The keys of a section, which is a dataclass."""
    return [field.name for field in dataclasses.fields(bare(kind))]


def bare(kind: Any) -> Any:
    """The type without Annotated and without `| None`."""
    while True:
        origin = get_origin(kind)
        arguments = [argument for argument in get_args(kind) if argument is not types.NoneType]
        if origin is Annotated or (origin in (Union, types.UnionType) and len(arguments) == 1):
            kind = arguments[0]
        else:
            return kind


def tagged_members(kind: Any) -> dict[str, Any]:
    """Of a union of dataclasses, each with a Literal field `type`: what `type` may say -> the dataclass."""
    kind = bare(kind)
    if get_origin(kind) not in (Union, types.UnionType):
        return {}
    return {
        tag: member
        for member in get_args(kind)
        if dataclasses.is_dataclass(member)
        for tag in get_args(get_type_hints(member).get("type"))
    }


def locate(kind: Any, location: tuple[int | str, ...]) -> tuple[tuple[str, ...], Any]:
    """Follow pydantic's `location` into a type: the keys that a user would write, and the type that belongs there.

    The location also says which member of a union was tried, which is no key; in a union that is not one of sections
    nothing follows it. The type is None for a key that does not exist.
    """
    keys: list[str] = []
    for part in location:
        members = tagged_members(kind)
        if part in members:
            kind = members[str(part)]
            continue
        section = bare(kind)
        origin, arguments = get_origin(section), get_args(section)
        if dataclasses.is_dataclass(section):
            kind = get_type_hints(section, include_extras=True).get(str(part))
        elif origin is tuple:
            kind = arguments[0 if arguments[-1] is Ellipsis else min(int(part), len(arguments) - 1)]
        elif origin is dict:
            kind = arguments[1]
        else:
            break
        keys.append(str(part))
    return tuple(keys), kind
