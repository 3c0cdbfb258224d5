"""Seeded damage to files that people write: to bytes, lines, words, and to the keys and values of JSON and YAML."""

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

import yaml

Damage = Callable[[random.Random, bytes], bytes]

# Words of the languages of these files, and values that nobody expects.
SCALARS = (  # noqa: SIM905
    "null true false 0 -1 1 0.5 -0.0 3.7 1e400 -1e400 1e308 1e-400 NaN Infinity .nan -.inf 1.0e+400 640 32768 ~ yes on"
    " 0o17 0x1F 1:2:3 2024-01-02 1_000 +1 +12e03 << = * & ! | > % @ ` ? - -- --- ... [ ] { } , : #"
).split()
TEXTS = (
    '""', '" "', "''", '"640"', '"a\\nb"', '"\\u0000"', '"\\u001b[31mred"', '"\\ud800"', '"\\u2028"', '"\\u202e"',
    '"ü€😀"',
    '"../../etc/passwd"', '"%s{0}{x}"', "'single'", '"unfinished', "\\", '"\\x"', "\t", "\u00a0", "\u0085", "\ufeff",
    "٣",
)  # fmt: skip
LARGE = (
    str(2**70), f"-{2**70}", "9" * 5000, "0x" + "f" * 5000, ":".join(["59"] * 3000), "1e" + "9" * 30, f"0.{'1' * 3000}",
    f'"{"x" * 100_000}"', "x" * 3000, f'"{"long words " * 3000}"', '"' + "\\n" * 200 + '"',
)  # fmt: skip
NESTED = (
    "[]", "{}", "[[]]", '{"": 1}', '{"a": {"a": 1}}', "[1, 2, 3]", "[null]", '[{"type": "x"}]', "[1, [2, [3]]]",
    "[a: 1]",
    *(f"{'[' * depth}{']' * depth}" for depth in (60, 190, 300, 600, 950, 3000, 100_000)),
    *('{"a": ' * depth + "1" + "}" * depth for depth in (60, 190, 300, 600, 950, 3000)),
    "[" * 100_000, f"[{', '.join('1' * 20_000)}]", f"[{', '.join(['x'] * 3000)}]",
    "{" + ", ".join(f'"key{index}": {index}' for index in range(3000)) + "}",
)  # fmt: skip
YAML_ONLY = (
    "*undefined", "&a [*a]", "&a {x: *a}", "!!python/object/apply:os.system [ls]", "!!binary aGk=", "!!set {a, b}",
    "!!int x", "!!float x", "!!timestamp x", "!!bool maybe", "!local x", "!<tag:x> y", "|\n  block", ">-\n  folded",
    "? key",
    "- - 1", "{<<: 1}", "{<<: [{a: 1}, {b: 2}]}", "&a &b x", "!!str 1", "!!null x", "!!map []", "!!seq {}", "!!map x",
    "!!merge x",
)  # fmt: skip
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
MERGE_BOMB = "b0: &b0 {x: 1}\n" + "".join(f"b{i}: &b{i} {{<<: [*b{i - 1}, *b{i - 1}]}}\n" for i in range(1, 40))
SURROUNDINGS = (BOMB, MERGE_BOMB, "---\n", "...\n", "%YAML 9.9\n---\n", "{", "}", "]", "\x00", "#", "\n" * 3000, "\t")
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 0.5, 1e-9, 2**31, 2**63, 2**70, -(2**70), float("inf"), float("nan"),
    1e308, "", " ",
    "x",
    "640", "a\nb", "\x00", "\x1b[31m", "\ud800", "x" * 100_000, [], {}, [[]], [None], {"": 1}, {"a\nb": 1}, [1, 2],
    [0.5] * 6,
    list(range(3000)), [[1]] * 50, {f"key{index}": index for index in range(300)},
)  # fmt: skip
KEYS = ("", " ", "x", "type", "a\nb", "\x00", "\x1b[31m", "1", "<<", "ü", "\ud800", "k" * 3000, "a.b", "__class__")
WORD = re.compile(r'"(?:[^"\\\n]|\\.)*"|[^\s"\[\]{},:]+')


def flip_bits(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def set_bytes(chance: random.Random, data: bytes) -> bytes:
    place, count = chance.randrange(len(data)), chance.choice([1, 2, 4, 30])
    return (
        data[:place] + chance.choice([bytes(count), b"\xff" * count, chance.randbytes(count)]) + data[place + count :]
    )


def cut(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data))]


def remove_part(chance: random.Random, data: bytes) -> bytes:
    first, last = sorted(chance.choices(range(len(data) + 1), k=2))
    return data[:first] + data[last:]


def repeat_part(chance: random.Random, data: bytes) -> bytes:
    first, last = sorted(chance.choices(range(len(data) + 1), k=2))
    return data[:last] + data[first:]


def insert_character(chance: random.Random, data: bytes) -> bytes:
    place = chance.randrange(len(data) + 1)
    return (
        data[:place]
        + chance.choice(["\0", "\t", "\ufeff", "\r", "\x0c", "\x1b", "\u2028", "'", '"', "€"]).encode()
        + data[place:]
    )


def encode(chance: random.Random, data: bytes) -> bytes:
    text = data.decode(errors="replace")
    return text.encode(chance.choice(["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7", "cp037"]), "replace")


def swap_lines(chance: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    first, last = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[first], lines[last] = lines[last], lines[first]
    return b"\n".join(lines)


def drop_lines(chance: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    first = chance.randrange(len(lines))
    return b"\n".join(lines[:first] + lines[first + chance.randint(1, 3) :])


def double_line(chance: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    place = chance.randrange(len(lines))
    return b"\n".join(lines[: place + 1] * chance.choice([1, 1, 1, 2]) + lines[place:])


def indent_line(chance: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    place = chance.randrange(len(lines))
    lines[place] = chance.choice([b" ", b"  ", b"\t", b"- ", b"# "]) + lines[place].lstrip(chance.choice([b"", b" "]))
    return b"\n".join(lines)


def end_lines_otherwise(chance: random.Random, data: bytes) -> bytes:
    return data.replace(b"\n", chance.choice([b"\r\n", b"\r", b" ", b"\n\n", b"\x85", b"\0"]))


def replace_word(chance: random.Random, data: bytes) -> bytes:
    new = chance.choice(chance.choice([SCALARS, SCALARS, TEXTS, LARGE, NESTED, YAML_ONLY]))
    return _with_words(data, lambda words: [(*chance.choice(words), new)])


def edit_word(chance: random.Random, data: bytes) -> bytes:
    """A slip of the keyboard in a key or value."""

    def edit(words: Sequence[tuple[int, int, str]]) -> list[tuple[int, int, str, str]]:
        start, end, word = chance.choice(words)
        place = chance.randrange(len(word))
        slips = [
            word[:place] + word[place + 1 :],
            word[:place] + word[place] + word[place:],
            word.swapcase(),
            f"_{word}",
            f"{word}s",
        ]
        return [(start, end, word, chance.choice(slips))]

    return _with_words(data, edit)


def swap_words(chance: random.Random, data: bytes) -> bytes:
    def swap(words: Sequence[tuple[int, int, str]]) -> list[tuple[int, int, str, str]]:
        one, other = sorted(chance.choices(words, k=2))
        return [] if one == other else [(*one, other[2]), (*other, one[2])]

    return _with_words(data, swap)


def surround(chance: random.Random, data: bytes) -> bytes:
    what = chance.choice(SURROUNDINGS).encode()
    return chance.choice([what + data, data + what, what + data + what])


def replace_all(chance: random.Random, data: bytes) -> bytes:
    new = chance.choice(
        [b"", b" ", b"\n", b"\0" * 100, b"<html></html>", chance.randbytes(200), *map(str.encode, NESTED + YAML_ONLY)]
    )
    return new * chance.choice([1, 1, 1, 3])


def replace_value(chance: random.Random, data: bytes) -> bytes:
    return _with_tree(chance, data, lambda section, key: section.__setitem__(key, chance.choice(VALUES)))


def rename_key(chance: random.Random, data: bytes) -> bytes:
    def rename(section: Any, key: Any) -> None:
        if isinstance(section, dict):
            section[chance.choice([*KEYS, key[:-1], key.upper(), f"{key}s"])] = section.pop(key)

    return _with_tree(chance, data, rename)


def remove_key(chance: random.Random, data: bytes) -> bytes:
    return _with_tree(chance, data, lambda section, key: section.__delitem__(key))


def nest_section(chance: random.Random, data: bytes) -> bytes:
    depth = chance.choice([1, 1, 2, 100, 400])

    def nest(section: Any, key: Any) -> None:
        for _ in range(depth):
            section[key] = {key: section[key]} if isinstance(section, dict) else [section[key]]

    return _with_tree(chance, data, nest)


def move_value(chance: random.Random, data: bytes) -> bytes:
    """Two values change places, wherever they are."""

    def move(section: Any, key: Any) -> None:
        kept.append((section, key))
        if len(kept) == 2:
            (one, here), (other, there) = kept
            one[here], other[there] = other[there], one[here]

    kept: list[tuple[Any, Any]] = []
    return _with_tree(chance, data, move, times=2)


def double_key(chance: random.Random, data: bytes) -> bytes:
    """A key twice in one section, which a dict cannot have: in the text."""
    text = data.decode(errors="replace")
    keys = list(re.finditer(r'"\w+": ?', text)) or list(re.finditer(r"(?m)^ *\w+: ?", text))
    if not keys:
        return data
    key = chance.choice(keys).group()
    place = chance.choice([found.start() for found in keys])
    after = "\n" if not key.startswith('"') else ", "
    return f"{text[:place]}{key}{chance.choice(['1', 'null', '{}'])}{after}{text[place:]}".encode(errors="replace")


BYTES: tuple[Damage, ...] = (flip_bits, set_bytes, cut, remove_part, repeat_part, replace_all)
TEXT: tuple[Damage, ...] = (
    *BYTES, insert_character, encode, swap_lines, drop_lines, double_line, indent_line, end_lines_otherwise,
    replace_word,
    replace_word, replace_word, replace_word, edit_word, edit_word, swap_words, swap_words, surround,
)  # fmt: skip
TREE: tuple[Damage, ...] = (
    *TEXT, replace_value, replace_value, replace_value, rename_key, rename_key, remove_key, remove_key, nest_section,
    move_value, move_value, double_key,
)  # fmt: skip


def mutate(chance: random.Random, data: bytes, damages: Sequence[Damage]) -> tuple[str, bytes]:
    """One to three of the damages, one after the other; returns their names, too."""
    names = []
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        if data:
            damage = chance.choice(damages)
            data = damage(chance, data)
            names.append(damage.__name__)
    return ", ".join(names), data


def _with_words(
    data: bytes, replaced: Callable[[Sequence[tuple[int, int, str]]], list[tuple[int, int, str, str]]]
) -> bytes:
    """The text with some words (start, end, word) replaced by others."""
    text = data.decode(errors="surrogateescape")
    words = [(*found.span(), found.group()) for found in WORD.finditer(text)]
    for start, end, _, new in reversed(replaced(words) if words else []):
        text = text[:start] + new + text[end:]
    return text.encode(errors="surrogateescape")


def _with_tree(chance: random.Random, data: bytes, change: Callable[[Any, Any], object], times: int = 1) -> bytes:
    """What JSON or YAML says, changed at a random key of a random section, written as JSON, or as YAML if it was that.

    Text with anchors stays as it is, for a bomb would go off here. A header of JSON above other lines, as of a journal,
    is changed alone.
    """
    if b"&" in data:
        return data
    header, newline, rest = data, b"", b""
    if data.startswith(b'{"') and b"}\n" in data:
        header, newline, rest = data.partition(b"\n")
    is_json = data.lstrip().startswith(b"{")
    try:
        tree = json.loads(header) if is_json else yaml.safe_load(header)
        for _ in range(times):
            sections = [section for section in _sections(tree) if section]
            section = chance.choice(sections)
            change(
                section, chance.choice(list(section)) if isinstance(section, dict) else chance.randrange(len(section))
            )
        if is_json or chance.random() < 0.5:
            text = json.dumps(tree, indent=None if rest else chance.choice([None, 1]))
        else:
            text = yaml.safe_dump(tree, allow_unicode=True, sort_keys=False)
        return text.encode(errors="surrogatepass") + newline + rest
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
        return data  # Damaged before; what else is done to it shows.


def _sections(tree: Any) -> list[Any]:
    """All dicts and lists of a tree."""
    found, waiting = [], [tree]
    while waiting and len(found) < 10_000:
        node = waiting.pop()
        if isinstance(node, dict | list):
            found.append(node)
            waiting.extend(node.values() if isinstance(node, dict) else node)
    return found
