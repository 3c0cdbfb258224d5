import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facedeploy.artifact.manifest import (
    SCHEMA,
    FileEntry,
    Manifest,
    PostProcess,
    manifest_from_json,
    manifest_to_json,
)
from facedeploy.core.anchor_spec import AnchorSpec
from facedeploy.core.errors import ArtifactError
from facedeploy.core.nms_params import NmsParams
from facedeploy.core.normalization import Normalization
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.core.receptive_field_spec import ReceptiveFieldSpec

FILE = "weights/mod.json"

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
FRACTION = st.floats(0, 1)
NORMALIZATIONS = st.builds(
    Normalization,
    st.sampled_from(["RGB", "BGR"]),
    st.tuples(*[st.floats(-255, 255)] * 3),
    st.tuples(*[st.floats(0.01, 255)] * 3),
    st.floats(0.01, 255),
)
LEVELS = st.lists(
    st.tuples(st.lists(st.integers(1, 999), min_size=1, max_size=3).map(tuple), st.integers(1, 99)), min_size=1
)
PRIORS = st.builds(
    lambda levels, **rest: PriorSpec(tuple(a for a, _ in levels), tuple(b for _, b in levels), **rest),
    LEVELS,
    aspect_ratio=st.floats(0.1, 9),
    clip=st.booleans(),
    offset=st.floats(0, 1),
)
ANCHORS = LEVELS.map(lambda levels: AnchorSpec(tuple(a for a, _ in levels), tuple(b for _, b in levels)))
FIELDS = st.lists(st.tuples(st.integers(1, 999), st.integers(1, 99), st.integers(0, 99)), min_size=2).map(
    lambda scales: ReceptiveFieldSpec(*zip(*scales, strict=True), skip_scales=(1,))
)
HEADS = st.one_of(PRIORS, ANCHORS, FIELDS)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=NAMES,
    normalization=st.none() | NORMALIZATIONS,
    head=st.none() | HEADS,
    inputs=st.sampled_from([("loc", "conf"), ("loc", "conf", "landms")]),
    nms=st.builds(NmsParams, FRACTION, FRACTION, st.integers(1, 5000)),
    threads=st.none() | st.integers(1, 64),
    metadata=st.dictionaries(NAMES, NAMES, max_size=3),
    size=st.integers(0, 2**40),
)
def test_manifest_comes_back_as_it_was(
    manifest: Manifest,
    name: str,
    normalization: Any,
    head: Any,
    inputs: tuple[str, ...],
    nms: NmsParams,
    threads: Any,
    metadata,
    size: int,
) -> None:
    assert manifest.postprocess is not None
    other = replace(
        manifest,
        name=name,
        normalization=normalization,
        postprocess=PostProcess(inputs, head, nms) if head else None,
        target=replace(manifest.target, threads=threads),
        source=replace(manifest.source, metadata=metadata),
        files={"mod.so": FileEntry(size, "ab")},
    )
    assert manifest_from_json(manifest_to_json(other), FILE) == other


def test_manifest_tells_batch_and_canvas(manifest: Manifest) -> None:
    assert [(rung.batch, rung.canvas_hw) for rung in manifest.ladder] == [(2, (64, 96)), (1, (32, 64))]
    assert manifest.base is manifest.ladder[0]


def changed(data: dict[str, Any], path: str, value: object) -> None:
    *sections, key = path.split(".")
    for section in sections:
        data = data[int(section) if section.isdigit() else section]
    if value is KeyError:
        del data[key]
    else:
        data[key] = value


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("schema", SCHEMA + 1, f"got schema {SCHEMA + 1}, this version reads {SCHEMA}"),
        ("schema", 3, f"got schema 3, this version reads {SCHEMA}: compile the model again"),
        ("schema", 0, "got schema 0, this version reads"),
        ("schema", KeyError, "is not the manifest of an artifact"),
        ("schema", "1", "is not the manifest of an artifact"),
        ("schema", True, "is not the manifest of an artifact"),
        ("schema", 1.0, "is not the manifest of an artifact"),
        ("nmae", "net", "nmae: unknown key, did you mean name?"),
        ("target.cpu", "x", "target.cpu: unknown key"),
        ("name", KeyError, "name: is missing"),
        ("name", 5, "name: got 5"),
        ("ladder", [], "ladder: got no shape, expected one or more"),
        ("ladder", {}, "ladder: got"),
        ("ladder.1.suffix", KeyError, "ladder.1.suffix: is missing"),
        (
            "ladder.1.input",
            {"name": "input", "shape": [1, 3, 64], "dtype": "float32"},
            "expected the shape (N, 3, H, W)",
        ),
        ("ladder.0.input", {"name": "input", "shape": "1,3", "dtype": "float32"}, "shape: got '1,3'"),
        (
            "ladder.1.integers.tensor.shape",
            [1, 1, 34, 70, 4],
            "ladder.1.integers.tensor: got integers_1x3x32x64 uint8[1,1,34,70,4], expected uint8 of the shape "
            "(1, 1, 32 + 2 halo, 64 + 2 halo, 4)",
        ),
        ("ladder.0.integers.tensor.shape", [2, 1, 60, 92, 4], "ladder.0.integers.tensor: got"),
        ("ladder.0.integers.tensor.shape", [2, 3, 64, 96], "ladder.0.integers.tensor: got"),
        ("ladder.0.integers.tensor.dtype", "float32", "ladder.0.integers.tensor: got"),
        ("ladder.1.outputs", [], "ladder.1.outputs: got none, expected loc, conf, landms"),
        ("ladder.0.outputs", None, "outputs: got"),
        ("normalization", {"color_order": "RBG", "mean": [0, 0, 0], "std": [1, 1, 1], "scale": 1}, "color_order"),
        ("normalization", {"color_order": "RGB", "mean": [0, 0, 0], "std": [1, 0, 1], "scale": 1}, "above 0"),
        (
            "postprocess.head.type",
            "rpn",
            "postprocess.head.type: got 'rpn', expected retinaface_nms, rpn_nms or rf_nms",
        ),
        ("postprocess.head.type", "rf_nms", "unknown key"),
        ("postprocess.inputs", ["loc"], "got 1 outputs, expected loc, conf and perhaps landms"),
        ("postprocess.inputs", ["loc", "conf", "points"], "expected loc, conf, points"),
        ("postprocess.nms.max_detections", 0, "max_detections: got 0"),
        ("postprocess.nms.nms_threshold", "0.4", "nms_threshold: got '0.4'"),
        ("postprocess.head.strides", [8], "they must agree"),
        ("arithmetic", KeyError, "arithmetic: is missing"),
        ("weights", "float16", "weights: got 'float16'"),
        ("weights.dtype", "fp16", "weights.dtype: got 'fp16', expected float32, float16 or bfloat16"),
        ("weights.winograd", [0.5], "weights.winograd"),
        ("target.features", "avx", "target.features: got 'avx'"),
        ("target.threads", 1.5, "target.threads: got 1.5"),
        ("ladder.0.calls", KeyError, "calls: is missing"),
        ("ladder.0.calls", [{"kernel": {"name": "a", "layers": "b"}, "arguments": []}], "layers: got 'b'"),
        (
            "ladder.0.calls",
            [{"kernel": {"name": "a"}, "arguments": [{"region": "heap", "offset": 0, "shape": [1], "dtype": "int8"}]}],
            "region: got 'heap'",
        ),
        ("files", {"mod.so": {"size": "1", "sha256": ""}}, "size: got '1'"),
        ("source.metadata", {"a": 1}, "source.metadata"),
    ],
)
def test_manifest_that_is_none_is_one_sentence(manifest: Manifest, path: str, value: object, said: str) -> None:
    data = json.loads(json.dumps(asdict(manifest)))
    changed(data, path, value)
    check_refused(json.dumps(data), said)


def check_refused(text: str, said: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        manifest_from_json(text, FILE)
    message = str(caught.value)
    assert message.startswith(FILE)
    assert said in message
    assert "\n" not in message
    assert len(message) < 500
    assert "compile the model again" in message or "give the prefix" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("schema: 1", "is not JSON"),
        ("\0", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"schema": ' + "1" * 5000 + "}", "is not JSON"),
        ("[]", "is not the manifest"),
        ("[1, 2]", "is not the manifest"),
        ("null", "is not the manifest"),
        ("1", "is not the manifest"),
        ('"schema"', "is not the manifest"),
        ('{"OpType": "FUSION"}', "is not the manifest"),
        (f'{{"schema": {SCHEMA}}}', "problems, the first: "),
        (f'{{"schema": {SCHEMA}, "name": NaN}}', "problems, the first: "),
    ],
)
def test_file_that_is_no_manifest_is_one_sentence(text: str, said: str) -> None:
    check_refused(text, said)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(place=st.integers(0, 10**6), byte=st.integers(0, 127))
def test_changed_byte_gives_a_manifest_or_one_sentence(manifest: Manifest, place: int, byte: int) -> None:
    text = manifest_to_json(manifest)
    place %= len(text)
    try:
        found = manifest_from_json(text[:place] + chr(byte) + text[place + 1 :], FILE)
    except ArtifactError as error:
        assert "\n" not in str(error)
        return
    assert found.base.canvas_hw
    assert found.base.batch
    assert manifest_from_json(manifest_to_json(found), FILE) == found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, 10**6))
def test_cut_manifest_is_refused(manifest: Manifest, length: int) -> None:
    text = manifest_to_json(manifest)
    check: Callable[[str, str], None] = check_refused
    check(text[: length % (len(text) - 2)], "is not JSON")
