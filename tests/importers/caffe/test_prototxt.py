"""protobuf's own text is read as protobuf has it; what is not such text is one sentence that names the line."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facedeploy.core.errors import CheckpointError
from facedeploy.importers.caffe.prototxt import Message, Scalar, read_prototxt

quick = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(folder: Path, text: str) -> Message:
    (folder / "net.prototxt").write_text(text, encoding="utf-8")
    return read_prototxt(folder / "net.prototxt")


def plain(message: Message) -> dict:
    return {
        key: [plain(value) if isinstance(value, Message) else value.text for value in values]
        for key, values in message.fields.items()
    }


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.sampled_from("\n\t\"'\\"), max_size=9
)


@quick
@given(
    name=TEXTS,
    doc=TEXTS,
    inputs=st.lists(TEXTS, max_size=3),
    integers=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    number=st.floats(width=32, allow_nan=False, allow_infinity=False),
    one_line=st.booleans(),
    angles=st.booleans(),
)
def test_what_protobuf_writes_is_read_back(tmp_path, name, doc, inputs, integers, number, one_line, angles) -> None:
    onnx = pytest.importorskip("onnx", reason="needs messages that someone else declared")
    from google.protobuf import text_format

    attribute = onnx.AttributeProto(name=name, ints=integers, f=number, type=onnx.AttributeProto.INTS)
    node = onnx.NodeProto(name=name, doc_string=doc, input=inputs, attribute=[attribute, attribute])
    text = text_format.MessageToString(
        node, as_utf8=True, as_one_line=one_line, pointy_brackets=angles, use_short_repeated_primitives=not one_line
    )
    found = plain(read(tmp_path, text))
    assert (found["name"], found["doc_string"], found.get("input", [])) == ([name], [doc], inputs)
    assert found["attribute"][0] == found["attribute"][1]
    inner = found["attribute"][0]
    assert [int(value) for value in inner.get("ints", [])] == integers
    assert (float(inner["f"][0]), inner["type"]) == (pytest.approx(number), ["INTS"])


def test_forms_that_people_write(tmp_path) -> None:
    text = """# A net
name: 'a' "b"; layer: { dim:1 dim: -1, dim: [2, 3] empty: [] last: 1e-05 }
layer < flag: true >"""
    found = read(tmp_path, text)
    assert plain(found) == {
        "name": ["ab"],
        "layer": [{"dim": ["1", "-1", "2", "3"], "empty": [], "last": ["1e-05"]}, {"flag": ["true"]}],
    }
    assert found.fields["name"] == [Scalar(2, "ab", True)]
    assert [value.line for value in found.fields["layer"]] == [2, 3]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("layer {\n name: 'a'\n", "line 3: the file ends inside a section, } is missing"),
        ("\nlayer }", "line 2: got } after layer"),
        ("}", "line 1: got }, expected the name of a field"),
        ("a { b: 1 >", "line 1: got >, expected the name of a field"),
        ("a 1", "line 1: got 1 after a, expected a value or a section"),
        ("a:", "line 1: got the end of the file after a"),
        ("a: ,", "line 1: got , after a"),
        ("1: 2", "line 1: got 1, expected the name of a field"),
        ("a: [1 2]", "line 1: got 2 in the list of a"),
        ("a: [1", "in the list of a"),
        ("a: 'b\nc'", "line 1: 'b is not protobuf's text format|line 1: 'b.* is not protobuf's text format"),
        ("a: '\\x'", r"line 1: the escape \\x is not known here"),
        ("a: 1 @", "line 1: @ is not protobuf's text format"),
        (f"{'a' * 9999} 1", r"line 1: got 1 after a{60}\.\.\., expected a value"),
        (f"{'a' * 9999}: [1 2]", r"in the list of a{60}\.\.\.$"),
        ("a {" * 50, "nested more than 20 deep"),
    ],
)
def test_text_that_is_no_prototxt_names_the_line(tmp_path, text, problem) -> None:
    with pytest.raises(CheckpointError, match=problem) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "net.prototxt"))
    assert "\n" not in str(caught.value)


@quick
@given(text=st.text(st.sampled_from("ab1 :{}<>[],;\"'\\#\n-."), max_size=40))
def test_any_text_is_read_or_is_one_sentence(tmp_path, text) -> None:
    try:
        read(tmp_path, text)
    except CheckpointError as error:
        assert "\n" not in str(error)


def test_files_that_are_no_text(tmp_path) -> None:
    (tmp_path / "net.prototxt").write_bytes(b"name: \xff\xfe")
    with pytest.raises(CheckpointError, match="is not text"):
        read_prototxt(tmp_path / "net.prototxt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_prototxt(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_prototxt(tmp_path / "missing.prototxt")
