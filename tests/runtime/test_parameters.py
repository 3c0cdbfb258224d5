"""`mod.params` becomes what kernels read, or one sentence says why it cannot."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facedeploy.artifact.manifest import Argument, Kernel, KernelCall, Weights, lay_out
from facedeploy.artifact.parameters import parameter_layout
from facedeploy.artifact.store import open_artifact, save_artifact
from facedeploy.artifact.winograd import TRANSFORM
from facedeploy.core.errors import ArtifactError
from facedeploy.core.tensor_spec import bytes_of
from facedeploy.runtime.parameters import read_parameters

TENSORS = [
    ((5, 7), "float32"),
    ((36, 2, 3, 4), "float32"),
    ((3, 33), "int8"),
    ((36, 5), "float32"),
    ((), "int32"),
    ((0, 3), "float32"),
    ((17,), "uint8"),
    ((2, 3), "float32"),
    ((4, 5), "float32"),
]
INTEGERS = [2, 6, 8]  # What a kernel reads that computes with integers, the last one their scales.


def calls_of(tensors):
    """Calls that read all of them, one of them both times, in another order than they lie."""
    offsets, size = lay_out(bytes_of(*tensor) for tensor in tensors)
    places = [Argument("parameters", at, *tensor) for at, tensor in zip(offsets, tensors, strict=True)]
    image = Argument("input", 0, (2, 3, 64, 96), "float32")
    floats = [place for index, place in enumerate(places) if index not in INTEGERS]
    arguments = (*floats[::-1], image), (*(places[index] for index in INTEGERS), image), (places[0], image)
    return tuple(KernelCall(Kernel(name), each) for name, each in zip("bca", arguments, strict=True)), offsets, size


CALLS, OFFSETS, SIZE = calls_of(TENSORS)


@pytest.fixture
def artifact(tiny_artifact, tmp_path):
    """Write an artifact of these parameters; its code does not matter."""
    manifest = open_artifact(tiny_artifact.prefix).manifest

    def write(content, weights, calls=CALLS):
        return save_artifact(
            tmp_path / "net",
            replace(manifest, ladder=(replace(manifest.base, calls=calls),), weights=weights),
            {"mod.so": lambda path: path.write_bytes(b"code"), "mod.params": lambda path: path.write_bytes(content)},
        )

    return write


def file_and_memory(weights):
    """Random contents of a file, and what memory must hold then, made by hand."""
    random = np.random.default_rng(0)
    parts, memory = [], np.zeros(SIZE, np.uint8)
    for index, ((shape, dtype), offset) in enumerate(zip(TENSORS, OFFSETS, strict=True)):
        count = prod(shape)
        if dtype != "float32" or weights.dtype == "float32" or index in INTEGERS:
            stored = random.integers(0, 100, count).astype(dtype)
            numbers = stored
        else:
            few = offset in weights.winograd
            numbers = np.float16(random.normal(0, 1, count // 36 * 9 if few else count)).astype(np.float32)
            if weights.dtype == "bfloat16":
                numbers = (numbers.view(np.uint32) & 0xFFFF0000).view(np.float32)
                stored = (numbers.view(np.uint32) >> 16).astype(np.uint16)
            else:
                stored = numbers.astype(np.float16)
            if few:
                numbers = (TRANSFORM @ numbers.reshape(9, -1).astype(np.float64)).astype(np.float32).ravel()
        parts.append(stored.tobytes().ljust(-(-stored.nbytes // 64) * 64, b"\0"))
        memory[offset : offset + numbers.nbytes] = numbers.view(np.uint8)
    return b"".join(parts), memory


@pytest.mark.parametrize(
    "weights",
    [
        Weights(),
        Weights("float16"),
        Weights("bfloat16"),
        Weights("float16", (OFFSETS[1],)),
        Weights("bfloat16", (OFFSETS[3], OFFSETS[1])),
    ],
)
def test_parameters_are_what_the_file_says(artifact, weights):
    content, expected = file_and_memory(weights)
    memory = read_parameters(artifact(content, weights))
    assert memory.shape == expected.shape
    assert memory.ctypes.data % 64 == 0
    for (shape, dtype), offset in zip(TENSORS, OFFSETS, strict=True):
        got, wanted = (np.ndarray(shape, dtype, region, offset) for region in (memory, expected))
        if offset in weights.winograd:
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)
        else:
            np.testing.assert_array_equal(got, wanted)


def refusal(artifact):
    with pytest.raises(ArtifactError) as caught:
        read_parameters(artifact)
    message = str(caught.value)
    assert message.startswith(f"{artifact.prefix}.json does not say how to read mod.params (")
    assert message.endswith("): compile the model again")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("weights", [Weights(), Weights("float16"), Weights("float16", (OFFSETS[1],))])
@pytest.mark.parametrize("change", [lambda content: content + bytes(64), lambda content: content[:-64]])
def test_file_of_another_size_is_one_sentence(artifact, weights, change):
    content, _ = file_and_memory(weights)
    damaged = change(content)
    assert f"mod.params has {len(damaged)} bytes, its parameters are {len(content)}" in refusal(
        artifact(damaged, weights)
    )


def test_storage_that_is_not_the_file_s_is_one_sentence(artifact):
    content, _ = file_and_memory(Weights("float16", (OFFSETS[1],)))
    for other in (Weights(), Weights("float16"), Weights("bfloat16", (OFFSETS[3],))):
        assert "mod.params has" in refusal(artifact(content, other))


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (Weights("float16", (OFFSETS[0],)), "weights.winograd: got 0, where no transforms of kernels lie"),
        (Weights("float16", (OFFSETS[1], -1)), "weights.winograd: got -1"),
        (Weights("bfloat16", (10**20,)), f"weights.winograd: got {10**20}"),
        (Weights("float32", (OFFSETS[1],)), "weights.winograd: got"),
    ],
)
def test_kernels_where_there_are_none_are_one_sentence(artifact, weights, said):
    content, _ = file_and_memory(Weights("float16"))
    assert said in refusal(artifact(content, weights))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    which=st.integers(0, len(TENSORS) - len(INTEGERS) - 1),
    offset=st.none() | st.integers(-(2**70), 2**70),
    shape=st.none() | st.lists(st.integers(-(2**40), 2**40), max_size=3).map(tuple),
    dtype=st.none() | st.sampled_from(["float16", "int64", "floot", "", "object", "5i"]),
)
def test_place_that_no_parameter_has_is_one_sentence_or_the_layout_is_whole(artifact, which, offset, shape, dtype):
    """Whatever a damaged manifest says, nothing outside of memory and file is touched."""
    at = CALLS[0].arguments[which]
    other = replace(
        at,
        offset=at.offset if offset is None else offset,
        shape=at.shape if shape is None else shape,
        dtype=dtype or at.dtype,
    )
    arguments = CALLS[0].arguments
    calls = (KernelCall(Kernel("b"), (*arguments[:which], other, *arguments[which + 1 :])), *CALLS[1:])
    content, _ = file_and_memory(Weights("float16"))
    try:
        memory = read_parameters(artifact(content, Weights("float16"), calls))
    except ArtifactError as error:
        assert "\n" not in str(error)
        return
    layout = parameter_layout(calls, Weights("float16"))
    assert (layout.file_bytes, layout.memory_bytes) == (len(content), len(memory))
