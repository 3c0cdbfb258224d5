import pytest

from facedeploy.core.errors import ConfigError
from facedeploy.export.canvas import canvas_name, parse_canvas


@pytest.mark.parametrize(
    ("text", "size_hw", "name"),
    [
        ("640", (640, 640), "640"),
        ("896x1280", (896, 1280), "896x1280"),
        ("416x416", (416, 416), "416"),
        ("33", (33, 33), "33"),
    ],
)
def test_canvas_is_parsed_and_named(text: str, size_hw: tuple[int, int], name: str) -> None:
    assert parse_canvas(text) == size_hw
    assert canvas_name(size_hw) == name


@pytest.mark.parametrize(
    "text", ["0", "31", "-640", "abc", "", "640x", "x640", "640X480", "640x480x3", "4097", "9" * 30, "640.5", "٦٤٠"]
)
def test_canvas_is_refused_in_one_line_when_it_is_no_size(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^size [^\n]*px$"):
        parse_canvas(text)
