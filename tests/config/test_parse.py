import pytest

from facedeploy.config.parse import parse_json, parse_yaml, read_json, read_text, read_yaml
from facedeploy.core.errors import ConfigError

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "line 5: the key 'c' is already on line 3"),
        ("1: a\n", "line 1: a key is text: got 1"),
        ("a: 2\non: 1\n", "line 2: a key is text: got on"),
        ("? [a, b]\n: 1\n", "line 1: a key is text: got a list or section"),
        ("a: [1, 2\nb: 3\n", "is not valid YAML: line 2"),
        ("a: b: c\n", "is not valid YAML: line 1: mapping values are not allowed"),
        ("a: 1\n---\nb: 2\n", "is not valid YAML: line 2"),
        ("a: *b\n", "is not valid YAML: line 1: found undefined alias"),
        ("a: !!python/object/apply:os.system [ls]\n", "is not valid YAML: line 1: could not determine a constructor"),
        ("a: !!binary aGk=\n", "is not valid YAML: line 1: could not determine a constructor"),
        ("a: !!bool maybe\n", "is not valid YAML: 'maybe' is marked !!bool"),
        ("a: !!int x\n", "is not valid YAML: invalid literal"),
        ("a: &a [*a]\n", "the section contains itself"),
        (BOMB, "has more than 10,000 values"),
        (MERGE_BOMB, "has more than 10,000 values"),
        ("[" * 5000, "is nested too deeply"),
        ("[" + "1, " * 300_000 + "1]", "has more than 10,000 values"),
        ("[" * 101 + "]" * 101, "is nested too deeply"),
        ("a: 0x" + "f" * 5000, "is not valid YAML: Exceeds the limit"),
        ("a: *" + "b" * 500, "is not valid YAML: line 1: found undefined alias 'bbb"),
        ('"a\\n\\e": 1\n"a\\n\\e": 2', "line 2: the key 'a"),
        ("a: \x07", "is not YAML: character 3"),
    ],
)
def test_parse_yaml_says_what_is_wrong_in_one_line(text, message):
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "x.yaml")
    assert str(caught.value).startswith("x.yaml: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parse_yaml_keeps_dates_as_text_and_takes_aliases_and_merges():
    text = "day: 2024-01-02\nbase: &base {x: 1}\nsame: *base\nmore: {<<: *base, y: 2}\n"
    assert parse_yaml(text, "x") == {"day": "2024-01-02", "base": {"x": 1}, "same": {"x": 1}, "more": {"x": 1, "y": 2}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' is there twice"),
        ('{"a": 1,\n "b": }', "is not valid JSON: line 2: Expecting value"),
        ('{"a": NaN}', "has NaN, which is no number"),
        ('{"a": ' + "9" * 5000 + "}", "is not valid JSON: "),
        ("[" * 100_000, "is nested too deeply"),
        (f'{{"{"a" * 500}": 1, "{"a" * 500}": 2}}', f"the key '{'a' * 60}...' is there twice"),
    ],
)
def test_parse_json_says_what_is_wrong_in_one_line(text, message):
    with pytest.raises(ConfigError) as caught:
        parse_json(text, "x.json")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"# only words\n", "is empty"),
        (b"- a\n- b\n", "got ['a', 'b'], expected a section with keys"),
        (b"just text", "got 'just text', expected a section with keys"),
        (b"a: \xff\xfe", "is not text: byte 3 is not UTF-8"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "is not YAML"),
        (b"a: " + b"x" * (1 << 20), "is 1,048,579 bytes, which is no file of settings"),
    ],
)
def test_read_yaml_says_what_is_wrong_in_one_sentence(tmp_path, content, message):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_read_text_raises_when_there_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="is a folder, expected a file"):
        read_text(tmp_path)
    with pytest.raises(ConfigError, match=r"no\.yaml: there is no such file \(the current folder is "):
        read_text(tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_text(tmp_path / ("n" * 300))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_text(tmp_path / "\0")


def test_read_takes_a_byte_order_mark(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(path) == {"a": 1}
    assert read_yaml(path) == {"a": 1}
