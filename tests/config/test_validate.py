from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from facedeploy.config.validate import validate
from facedeploy.core.errors import ConfigError
from facedeploy.core.prior_spec import PriorSpec


@dataclass(frozen=True)
class Square:
    type: Literal["Square"]
    side: int


@dataclass(frozen=True)
class Circle:
    type: Literal["Circle"]
    radius: float


@dataclass(frozen=True)
class Drawing:
    name: str
    shapes: tuple[Annotated[Square | Circle, Field(discriminator="type")], ...] = ()
    origin: tuple[float, float] = (0.0, 0.0)
    layers: dict[str, Annotated[int, Field(ge=0, description="a whole number of 0 or more")]] | None = None
    marks: tuple[int | str, ...] = ()
    visible: bool = True
    priors: PriorSpec | None = None
    file: Path | None = None


def error_of(data: object, **options: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(Drawing, data, "d.json", **options)
    return str(caught.value)


def test_validate_builds_nested_dataclasses_when_all_is_right():
    data = {
        "name": "a",
        "shapes": [{"type": "Circle", "radius": 2}, {"type": "Square", "side": 3}],
        "layers": {"top": 1},
        "marks": [1, "x"],
        "priors": {"min_sizes": [[16, 32]], "strides": [8]},
        "file": "a/b",
    }
    drawing = validate(Drawing, data, "d.json")
    assert drawing == Drawing(
        "a",
        (Circle("Circle", 2.0), Square("Square", 3)),
        layers={"top": 1},
        marks=(1, "x"),
        priors=PriorSpec(((16, 32),), (8,)),
        file=Path("a/b"),
    )
    assert isinstance(drawing.shapes[0].radius, float)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "name: is missing, expected text"),
        ({"name": 5}, "name: got 5, expected text"),
        ({"name": None}, "name: got null, expected text"),
        ({"name": "a", "visible": 1}, "visible: got 1, expected true or false"),
        ({"name": "a", "visible": "yes"}, "visible: got 'yes', expected true or false"),
        ({"name": "a", "origin": [1]}, "origin: got [1], expected a list of 2, each a number"),
        ({"name": "a", "origin": [1, 2, 3]}, "origin: got [1, 2, 3], expected a list of 2, each a number"),
        ({"name": "a", "origin": [1, True]}, "origin.1: got true, expected a number"),
        ({"name": "a", "origin": [1, float("nan")]}, "origin.1: got nan, expected a number"),
        ({"name": "a", "origin": "12"}, "origin: got '12', expected a list of 2, each a number"),
        ({"name": "a", "layers": {"x.y": -1}}, "layers.x.y: got -1, expected a whole number of 0 or more"),
        ({"name": "a", "layers": 3}, "layers: got 3, expected a section or null"),
        ({"name": "a", "marks": [0.5]}, "marks.0: got 0.5, expected a whole number or text"),
        ({"name": "a", "nmae": "b"}, "nmae: unknown key, did you mean name?"),
        (
            {"name": "a", "zzz": "b"},
            "zzz: unknown key, expected one of name, shapes, origin, layers, marks, visible, priors, file",
        ),
        ({"name": "a", "shapes": {"a": 1}}, "shapes: got a section, expected a list, each a section whose type is"),
        ({"name": "a", "shapes": [{"side": 1}]}, "shapes.0.type: is missing, expected Square or Circle"),
        (
            {"name": "a", "shapes": [{"type": "Sqare"}]},
            "shapes.0.type: got 'Sqare', expected Square or Circle; did you",
        ),
        ({"name": "a", "shapes": [7]}, "shapes.0: got 7, expected a section whose type is Square or Circle"),
        (
            {"name": "a", "shapes": [{"type": "Square", "side": "640"}]},
            "shapes.0.side: got '640', expected a whole number",
        ),
        (
            {"name": "a", "shapes": [{"type": "Square", "side": 640.0}]},
            "shapes.0.side: got 640.0, expected a whole number",
        ),
        ({"name": "a", "priors": {"strides": [8]}}, "priors: min_sizes has 3 levels, strides 1: they must agree"),
        ([], "got [], expected a section with name, shapes"),
        (None, "got null, expected a section with name"),
        ({"name": "a", "a\nb\x1b[31m": 1}, "a\\nb\\x1b[31m: unknown key, expected one of"),
        ({"name": "a", " ": 1}, "' ': unknown key, expected one of"),
        ({"name": "a", "k" * 500: 1}, f"{'k' * 60}...: unknown key, expected one of"),
        ({"name": "a", "shapes": [{"type": "x" * 500}]}, f"shapes.0.type: got '{'x' * 59}..., expected Square or"),
        ({"name": nested(300)}, "is nested too deeply"),
        ({"name": nested(3000)}, "is nested too deeply"),
        ({"name": "\ud800"}, "has text that is not Unicode"),
    ],
)
def test_validate_says_key_got_and_expected_when_one_value_is_wrong(data, message):
    assert error_of(data).startswith(f"d.json: {message}")
    assert "\n" not in error_of(data)


def test_validate_lists_every_problem_at_once():
    text = error_of(
        {"shapes": [{"type": "Square", "side": True}, {"type": "Disk"}], "origin": ["a", 1], "marks": [None]}
    )
    assert text.splitlines() == [
        "d.json: 5 problems",
        "  name: is missing, expected text",
        "  shapes.0.side: got true, expected a whole number",
        "  shapes.1.type: got 'Disk', expected Square or Circle",
        "  origin.0: got 'a', expected a number",
        "  marks.0: got null, expected a whole number or text",
    ]


def test_validate_lists_the_first_of_many_problems():
    lines = error_of({"name": "a", **{f"key{index}": 1 for index in range(5000)}}).splitlines()
    assert lines[0] == "d.json: 5000 problems"
    assert lines[20].startswith("  key19: unknown key")
    assert lines[21:] == ["  ... and 4980 more"]


def test_validate_names_the_right_key_when_it_is_known_under_another_name():
    text = error_of({"title": "a"}, renamed={"title": "name"})
    assert text == "d.json: title: unknown key, did you mean name?"


def test_validate_says_so_when_a_section_is_nested_in_itself():
    text = error_of({"name": "a", "priors": {"priors": {"strides": [8]}}})
    assert text == "d.json: priors.priors: the section is nested in itself, move its keys up into priors"


JSON = st.recursive(
    st.sampled_from([None, True, 0, -1, 10**30, 0.5, float("inf"), "", "Square", "\udc80"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "type", "side", "priors", "x.y"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(Drawing.__dataclass_fields__, JSON)))
def test_validate_gives_a_value_or_a_config_error_in_plain_words(data):
    try:
        validate(Drawing, data, "d.json")
    except ConfigError as error:
        assert not any(word in str(error) for word in ("pydantic", "http", "Input should", "Traceback"))
