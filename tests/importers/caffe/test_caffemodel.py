"""Parameters come out as they were written, by a writer of a few lines; a damaged file is one sentence."""

import caffe_net
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facedeploy.core.errors import CheckpointError
from facedeploy.importers.caffe.caffemodel import read_caffemodel

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SHAPES = st.lists(st.integers(1, 200), max_size=4).filter(lambda sides: np.prod(sides, dtype=int) <= 4000)
NETS = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=9), st.lists(SHAPES, max_size=3), max_size=4)


def read(folder, content: bytes):
    (folder / "net.caffemodel").write_bytes(content)
    return read_caffemodel(folder / "net.caffemodel")


def arrays_of(net: dict) -> dict:
    random = np.random.default_rng(3)
    return {
        name: [random.standard_normal(shape).astype(np.float32) for shape in shapes] for name, shapes in net.items()
    }


@quick
@given(net=NETS, legacy=st.booleans(), double=st.booleans(), packed=st.booleans())
def test_arrays_return_in_the_shapes_they_have(tmp_path, net, legacy, double, packed) -> None:
    arrays = arrays_of(net | {"one": [[2, 3]]})
    found = read(tmp_path, caffe_net.caffemodel_bytes(arrays, legacy=legacy, double=double, packed=packed))
    assert set(found) == {name for name, each in arrays.items() if each}
    for name, blobs in found.items():
        for blob, array in zip(blobs, arrays[name], strict=True):
            shaped = blob.shaped(array.shape)
            assert shaped is not None
            assert shaped.dtype == np.float32
            np.testing.assert_array_equal(shaped, array)
            assert blob.shaped((*array.shape, 2)) is None


CONTENT = caffe_net.caffemodel_bytes(arrays_of({"conv": [[4, 3, 3, 3], [4]], "bn": [[4], [4], [1]]}))


@quick
@given(end=st.integers(0, len(CONTENT) - 1))
def test_a_file_that_was_cut_off_is_one_sentence_or_lacks_layers(tmp_path, end) -> None:
    try:
        found = read(tmp_path, CONTENT[:end])
    except CheckpointError as error:
        assert "\n" not in str(error)
    else:
        assert "bn" not in found


@quick
@given(place=st.integers(0, len(CONTENT) - 1), value=st.integers(0, 255))
def test_a_changed_byte_is_never_a_traceback(tmp_path, place, value) -> None:
    try:
        read(tmp_path, CONTENT[:place] + bytes([value]) + CONTENT[place + 1 :])
    except CheckpointError as error:
        assert "\n" not in str(error)


def blob_of(shape: bytes, count: int) -> bytes:
    blob = caffe_net.field(7, caffe_net.field(1, shape)) + caffe_net.field(5, np.zeros(count, "<f4").tobytes())
    return caffe_net.field(100, caffe_net.field(1, b"it") + caffe_net.field(7, blob))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is 0 bytes"),
        (b"\x89PNG not a net", "protobuf cannot read it"),
        (caffe_net.field(1, b"name"), "has no layers"),
        (caffe_net.field(2, b"old"), "format of Caffe before 2014.*upgrade_net_proto_binary"),
        (blob_of(b"\x02\x03", 5), r"blob 0 of the layer it has 5 numbers for the shape \[2, 3\]"),
        (blob_of(caffe_net.varint(-2) + b"\x03", 6), r"has 6 numbers for the shape \[-2, 3\]"),
        (blob_of(caffe_net.varint(1 << 62) * 4, 1), "has 1 numbers for the shape"),
        (blob_of(b"\x01" * 40, 1), "has 1 numbers for the shape"),
        (blob_of(b"\x01", 1) * 2, "two layers that are called it"),
        (caffe_net.caffemodel_bytes({"it": [np.array([np.nan])]}), "numbers that are not finite"),
        (caffe_net.caffemodel_bytes({"it": [np.array([1e300])]}, double=True), "numbers that are not finite"),
        (blob_of(b"\x01", 1).replace(b"it", b"\xff\xfe"), "is not UTF-8"),
    ],
)
def test_files_that_are_no_parameters(tmp_path, content, problem) -> None:
    with pytest.raises(CheckpointError, match=problem):
        read(tmp_path, content)


def test_no_file_is_one_sentence(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_caffemodel(tmp_path / "missing.caffemodel")
