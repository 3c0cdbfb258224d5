"""The `.params` format: what is written is read, and anything else is refused in one sentence."""

import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from mutations import BYTES, mutate
from params_file import KINDS, array_bytes, file_bytes, params_bytes

from facedeploy.core.errors import CheckpointError
from facedeploy.importers.mxnet.params import read_params

MANY = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
ARRAYS = st.sampled_from(sorted(KINDS)).flatmap(lambda kind: arrays(kind, array_shapes(max_dims=5, max_side=4)))
ONE = array_bytes(np.arange(6, dtype=np.float32).reshape(2, 3))


def read(folder: Path, content: bytes) -> dict[str, np.ndarray]:
    path = folder / "net-0000.params"
    path.write_bytes(content)
    return read_params(path)


@MANY
@given(
    st.dictionaries(NAMES, st.tuples(st.sampled_from(["arg:", "aux:"]), ARRAYS), max_size=5), st.sampled_from([1, 2])
)
def test_what_is_written_is_read(tmp_path: Path, named: dict[str, Any], version: int) -> None:
    written = {prefix + name: array for name, (prefix, array) in named.items()}
    got = read(tmp_path, params_bytes(written, version))
    assert list(got) == list(named)
    for name, (_, array) in named.items():
        assert got[name].dtype == array.dtype
        assert got[name].shape == array.shape
        assert got[name].tobytes() == array.tobytes()


def test_versions_may_be_mixed_and_the_device_does_not_matter(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float64).reshape(1, 6)
    parts = [array_bytes(array, 1), array_bytes(array, 2, device=2)]
    got = read(tmp_path, file_bytes(parts, [b"arg:a", b"aux:b"]))
    assert all((each == array).all() for each in got.values())


def _header(**changes: Any) -> bytes:
    """One array whose fields are not what they should be."""
    fields = {"magic": 0xF993FAC9, "storage": 0, "rank": 1, "shape": (2,), "device": 1, "kind": 0} | changes
    shape = struct.pack(f"<{len(fields['shape'])}q", *fields["shape"])
    start = struct.pack("<IiI", fields["magic"], fields["storage"], fields["rank"])
    array = start + shape + struct.pack("<iii", fields["device"], 0, fields["kind"]) + bytes(8)
    return file_bytes([array], [b"arg:a"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "ends too early: the header needs 16 bytes more, 0 are left"),
        (b"PK\x03\x04" + bytes(40), "is no MXNet .params file"),
        (struct.pack("<QQQ", 0x112, 1, 0) + bytes(8), "is no MXNet .params file"),
        (struct.pack("<QQQ", 0x112, 0, 2**60), "says that it has 1,152,921,504,606,846,976 arrays"),
        (_header(magic=0xF993FACA), "array 0 starts with 0xf993faca, expected 0xf993fac8 or 0xf993fac9"),
        (_header(storage=1), "array 0 is row sparse, expected a dense one"),
        (_header(storage=2), "array 0 is CSR, expected a dense one"),
        (_header(storage=7), "array 0 is of storage type 7"),
        (_header(rank=0, shape=()), "array 0 has 0 dimensions, expected 1 to 32"),
        (_header(rank=2**31), "array 0 has 2,147,483,648 dimensions"),
        (_header(rank=2, shape=(-1, -2)), "array 0 has the shape [-1, -2], expected sides of 1 or more"),
        (_header(shape=(0,)), "array 0 has the shape [0]"),
        (_header(shape=(2**40,)), "ends too early: array 0 of the shape [1099511627776] needs 4,398,046,511,104 bytes"),
        (_header(rank=3, shape=(2**62,) * 3), "ends too early: array 0 of the shape ["),
        (_header(kind=7), "array 0 has the dtype 7, expected one of 0 to 6"),
        (_header(device=9), "array 0 has the device type 9, expected one of 1, 2, 3, 5"),
        (file_bytes([ONE], []), "has 0 names for 1 arrays"),
        (file_bytes([], [b"arg:a"]), "has 1 names for 0 arrays"),
        (file_bytes([ONE, ONE], [b"arg:a", b"arg:a"]), "has two arrays of the name a"),
        (file_bytes([ONE, ONE], [b"arg:a", b"aux:a"]), "has two arrays of the name a"),
        (file_bytes([ONE], [b"weight"]), "has the name weight, expected arg:NAME or aux:NAME"),
        (file_bytes([ONE], [b"arg:"]), "has the name arg:, expected arg:NAME"),
        (file_bytes([ONE], [b"arg:\xff"]), "has a name that is not text"),
        (file_bytes([ONE], [b"\x1b[31m"]), "has the name \\x1b[31m, expected"),
        (file_bytes([ONE], [b"arg:a"]) + b"more", "goes on after its end, by 4 bytes"),
    ],
)
def test_damaged_or_hostile_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path, content)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'net-0000.params'}: ")
    assert str(caught.value).isprintable()


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "no.params", tmp_path):
        with pytest.raises(CheckpointError, match="cannot be read"):
            read_params(path)


VALID = params_bytes({"arg:a": np.ones((2, 3), np.float32), "aux:b": np.ones(4, np.int64), "arg:c": np.ones((1, 1, 2))})


def test_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    for length in range(len(VALID)):
        with pytest.raises(CheckpointError):
            read(tmp_path, VALID[:length])


@MANY
@given(st.integers(0, 2**32))
def test_mutation_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        _, content = mutate(chance, VALID, BYTES)
        try:
            got = read(tmp_path, content)
        except CheckpointError as error:
            assert str(error).isprintable()
        else:
            assert sum(array.nbytes for array in got.values()) <= len(content)


@MANY
@given(st.integers(0, len(VALID) - 1), st.integers(0, 255))
def test_byte_flip_is_read_or_refused(tmp_path: Path, place: int, value: int) -> None:
    content = bytearray(VALID)
    content[place] = value
    try:
        read(tmp_path, bytes(content))
    except CheckpointError as error:
        assert str(error).isprintable()
