"""Ranges from a table of another tool: what its lines mean, what a table that lacks tensors leaves in float."""

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facedeploy.config.build_config import QuantizeOptions
from facedeploy.core.errors import DataError
from facedeploy.quantize.calibrate import calibrate
from facedeploy.quantize.calibration_table import read_calibration_table, table_calibration
from facedeploy.quantize.insert_qdq import insert_qdq

quick = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
HEADER = "TRT-5102-EntropyCalibration2\n"
LINEAR_OUTPUTS = ("boxes", "top.a")  # A sigmoid of large values turns over by little.
INTEGER = 11  # Convolutions of the pyramid that become integer: all but the depthwise one.


def table_of(scales: dict) -> str:
    return HEADER + "".join(f"{name}: {struct.pack('>f', scale).hex()}\n" for name, scale in scales.items())


@pytest.fixture(scope="module")
def scales(pyramid, images):
    """A scale for each tensor of the pyramid that may become integers, from its values."""
    found = calibrate(pyramid, images, QuantizeOptions(quantize_per_channel=False)).ranges
    return {name: float(max(-entry.low[0], entry.high[0])) / 127 for name, entry in found.items()}


@pytest.fixture
def quantize(pyramid, tmp_path):
    """The pyramid by a table of these scales, what stays float for it, and what was said."""

    def quantized(scales):
        (tmp_path / "table").write_text(table_of(scales))
        said = []
        calibration, lacking = table_calibration(pyramid, tmp_path / "table", frozenset(), said.append)
        options = QuantizeOptions(skip_conv_layers=tuple(sorted(lacking)))
        return insert_qdq(pyramid, calibration, options), lacking, said

    return quantized


@quick
@given(
    entries=st.dictionaries(
        st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1).filter(
            lambda name: name == name.strip()
        ),
        st.floats(0, 2.0**99, width=32),
        max_size=5,
    )
)
def test_scales_are_the_floats_that_were_written(tmp_path, entries) -> None:
    (tmp_path / "table").write_text(table_of(entries))
    assert read_calibration_table(tmp_path / "table") == entries


def test_forms_of_lines(tmp_path) -> None:
    lines = [
        "TRT-7103-MinMaxCalibration",
        "data: 4000890a",
        "a: b: 0",
        "(Unnamed Layer* 1) [Scale]_output: 3da77f4a",
        "",
    ]
    (tmp_path / "table").write_text("\r\n".join(lines))
    assert read_calibration_table(tmp_path / "table") == {
        "data": pytest.approx(255 / 127, rel=1e-3),
        "a: b": 0.0,
        "(Unnamed Layer* 1) [Scale]_output": pytest.approx(0.0817857, rel=1e-5),
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1 is nothing"),
        ("conv1_param_0 1.5 2.5\n", "is no TensorRT calibration table: line 1 is conv1_param_0 1.5 2.5"),
        (HEADER + "a: 3f80000\nb 3f800000\n", "line 3: got b 3f800000, expected tensor: hexadecimal digits"),
        (HEADER + "a: 3f8000001\n", "line 2: got a: 3f8000001, expected"),
        (HEADER + "a: 1.5\n", "line 2: got a: 1.5, expected"),
        (HEADER + "a: 7fc00000\n", "line 2: a has the scale nan"),
        (HEADER + "a: 7f800000\n", "line 2: a has the scale inf"),
        (HEADER + "a: bf800000\n", "line 2: a has the scale -1.0"),
        (HEADER + "a: 3f800000\na: 3f800000\n", "line 3: a is there a second time"),
    ],
)
def test_files_that_are_no_table_name_the_line(tmp_path, text, problem) -> None:
    (tmp_path / "table").write_text(text)
    with pytest.raises(DataError, match=f"backend.quantize.ranges: .*{problem}") as caught:
        read_calibration_table(tmp_path / "table")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_calibration_table(tmp_path / "missing")
    (tmp_path / "table").write_bytes(b"TRT-1-\xff")
    with pytest.raises(DataError, match="is not text"):
        read_calibration_table(tmp_path / "table")


def test_ranges_are_127_steps_to_either_side_and_begin_at_0_behind_a_relu(pyramid, scales, tmp_path) -> None:
    (tmp_path / "table").write_text(table_of(scales))
    calibration, lacking = table_calibration(pyramid, tmp_path / "table", frozenset())
    assert (calibration.method, calibration.samples, lacking) == ("table", 0, frozenset())
    for name, found in calibration.ranges.items():
        end = float(np.float32(scales[name])) * 127
        assert found.high == (pytest.approx(end),)
        assert found.low == ((0.0,) if name == "features" else (pytest.approx(-end),))


def test_model_computes_almost_the_same_by_ranges_of_all_tensors(pyramid, scales, quantize, run, images) -> None:
    model, lacking, said = quantize(scales)
    assert not lacking
    (line,) = said
    count = sum(node.op_type == "QuantizeLinear" for node in model.graph.node)
    assert line.endswith(f"has the ranges of {count} of {count} tensors")
    plain = QuantizeOptions(quantize_per_channel=False)
    by_images = insert_qdq(pyramid, calibrate(pyramid, images, plain), plain)

    def noise(integers, name) -> float:
        exact, got = (np.stack([run(each, image[None])[name] for image in images]) for each in (pyramid, integers))
        return float(np.sqrt(((got - exact) ** 2).mean() / (exact**2).mean()))

    for name in LINEAR_OUTPUTS:
        assert noise(model, name) < 1.5 * noise(by_images, name)


def test_weights_are_rounded_to_the_nearest(pyramid, scales, quantize, constants) -> None:
    model, *_ = quantize(scales)
    before, after = constants(pyramid), constants(model)
    integers = [name for name in after if name.endswith(".quantized") and after[name].dtype == np.int8]
    assert len(integers) == INTEGER
    for name in integers:
        layer = name.removesuffix(".quantized")
        weight = before[layer].astype(np.float64)
        steps = after[f"{layer}.scale"].reshape(-1, 1, 1, 1)
        np.testing.assert_allclose(after[name] * steps, weight, atol=steps.max() * 0.501)
        assert (np.abs(after[name] * steps - weight) <= steps * 0.501).all()
        np.testing.assert_allclose(after[layer.replace(".w", ".b")], before[layer.replace(".w", ".b")], rtol=1e-6)


@quick
@given(data=st.data())
def test_layers_whose_tensors_have_no_name_stay_float(pyramid, scales, quantize, run, images, data) -> None:
    kept = data.draw(st.sets(st.sampled_from(sorted(scales)), min_size=1))
    try:
        model, lacking, (line,) = quantize({name: scales[name] for name in kept})
    except DataError as error:
        assert "has none of the" in str(error)
        return
    made = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    pooled = {"up": "top.a"}  # What a nearest resize picks has the range of what it picks from.
    assert {pooled.get(name, name) for name in made} <= kept
    dequantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    for index, node in enumerate(convolutions):
        integer = node.input[1] in dequantized
        assert not (integer and index in lacking)
        assert not integer or node.input[0] in dequantized
    if lacking:
        assert f"; {len(lacking)} convolutions that need the others stay float: " in line
    assert set(run(model, images[0][None])) == set(run(pyramid, images[0][None]))


def test_table_of_another_model_is_refused(quantize) -> None:
    with pytest.raises(
        DataError, match=r"has none of the \d+ tensors that would become integers, such as .*: it is of an"
    ):
        quantize({"conv1": 1.0})


def test_real_table_names_every_tensor_of_its_net(shared_data) -> None:
    folder = shared_data / "weights/caffe"
    files = [folder / f"mnet-deconv-0517.{kind}" for kind in ("prototxt", "caffemodel", "table.int8")]
    if not all(file.is_file() for file in files):
        pytest.skip(f"the net and its table are not in {folder}")
    from facedeploy.importers.caffe.to_onnx import import_caffe

    said = []
    model = import_caffe(files[0], files[1], (1, 3, 96, 128))
    calibration, lacking = table_calibration(model, files[2], frozenset(), said.append)
    assert said[0].endswith("has the ranges of 33 of 33 tensors")
    assert not lacking
    assert calibration.ranges["data"].high == (pytest.approx(255, rel=1e-3),)
    relus = [found.low for name, found in calibration.ranges.items() if name.endswith("relu")]
    assert relus
    assert set(relus) == {(0.0,)}
