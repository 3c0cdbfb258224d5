import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from facedeploy.config.build_config import Evaluate, Sampler, notes
from facedeploy.config.load import load_build_config
from facedeploy.config.shipped import shipped_configs
from facedeploy.config.vdsp_params import load_vdsp_params
from facedeploy.core.errors import ConfigError
from facedeploy.core.nms_params import NmsParams
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.models.specs import MODELS

MINIMAL: dict[str, Any] = {
    "name": "m",
    "frontend": {"type": "onnx", "checkpoint": "m.onnx", "shape": {"input": [1, 3, 640, 640]}},
    "backend": {"dtype": "fp32"},
    "workspace": {"path": "out"},
}
OPS: list[dict[str, Any]] = [
    {"type": "DecodeImage"},
    {"type": "CvtColor", "code": "COLOR_RGB2BGR"},
    {"type": "Resize", "size": [640, -1], "adaptive_side": "long"},
    {"type": "Pad", "pad_to_square": True},
    {"type": "Normalize", "mean": [104, 117, 123], "std": [1, 1, 1]},
    {"type": "ToTensor"},
]
FULL: dict[str, Any] = {
    **MINIMAL,
    "backend": {
        "type": "tvm_vacc",
        "dtype": "int8",
        "compile": {"data_transport_mode": 3, "cluster_mode": 0, "threads": 2},
        "quantize": {"calibrate_mode": "max", "skip_conv_layers": [0, "Conv_*"]},
    },
    "graph": {
        "extra_ops": {
            "type": "retinaface_nms",
            "params": {
                "num_classes": 1,
                "nms_threshold": 0.4,
                "confidence_threshold": 0.02,
                "anchor": [16, 32, 64, 128, 256, 512],
            },
        }
    },
    "dataset": {"type": "tvm", "path": "calib", "sampler": {"suffix": "jpg", "get_data_num": 50}, "process_ops": OPS},
}


@pytest.fixture
def load(tmp_path):
    """Write `data` with the values of `changes` (dotted path -> value, ... to delete) and load it."""

    def run(data, changes=None, overrides=()):
        data = copy.deepcopy(data)
        for path, value in (changes or {}).items():
            *parents, last = path.split(".")
            section = data
            for key in parents:
                section = section[int(key) if isinstance(section, list) else key]
            if value is ...:
                del section[last]
            else:
                section[int(last) if isinstance(section, list) else last] = value
        (tmp_path / "b.yaml").write_text(yaml.safe_dump(data))
        return load_build_config(tmp_path / "b.yaml", overrides)

    return run


@pytest.fixture
def error_of(load):
    def run(data, changes=None, overrides=()):
        with pytest.raises(ConfigError) as caught:
            load(data, changes, overrides)
        return str(caught.value).split("b.yaml", 1)[-1].removeprefix(" with --set").removeprefix(": ")

    return run


def test_load_gives_defaults_when_only_what_is_needed_is_there(load):
    config = load(MINIMAL)
    assert (config.backend.type, config.backend.target, config.backend.compile.threads) == ("tvm", "host", None)
    assert (config.frontend.input_name, config.frontend.canvas_hw) == ("input", (640, 640))
    assert config.graph is None
    assert config.dataset is None
    assert notes(config) == ()


def test_tune_is_off_unless_the_config_or_an_override_says_otherwise(load):
    assert load(MINIMAL).backend.tune is False
    assert load(MINIMAL, {"backend.tune": True}).backend.tune is True
    assert load(MINIMAL, overrides=["backend.tune=true"]).backend.tune is True
    with pytest.raises(ConfigError, match=r"backend\.tune: got 'yes please', expected true or false"):
        load(MINIMAL, {"backend.tune": "yes please"})
    with pytest.raises(ConfigError, match=r"backend\.tuned: unknown key, did you mean tune\?"):
        load(MINIMAL, {"backend.tuned": True})


def test_load_gives_priors_and_thresholds(load):
    params = load(FULL).graph.extra_ops.params
    assert params.spec() == PriorSpec()
    assert params.nms_params() == NmsParams(0.02, 0.4, 750)


def test_notes_name_what_does_nothing_here(load):
    lines = notes(load(FULL))
    assert [line.split(":")[0] for line in lines] == [
        "backend.type",
        "backend.compile.data_transport_mode",
        "backend.compile.cluster_mode",
        "backend.quantize.calibrate_mode",
    ]
    assert "does nothing for fp32" in notes(load(FULL, {"backend.dtype": "fp32"}))[-1]


def test_max_drop_comes_with_what_it_is_measured_on_and_means_nothing_to_floats(load):
    changes = {"backend.quantize.max_drop": 0, "backend.quantize.evaluate": {"images": "val", "ground_truth": "gt"}}
    quantize = load(FULL, changes).backend.quantize
    assert (quantize.max_drop, quantize.evaluate) == (0, Evaluate("val", "gt"))
    fp32 = load(FULL, {**changes, "backend.dtype": "fp32", "graph": ...})
    assert notes(fp32)[-1] == "backend.quantize: for dtype int8 only; it does nothing for fp32"


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        # Slips of the reference's own documents.
        (
            FULL,
            {"backend.quantize": {"alibrate_mode": "max"}},
            "backend.quantize.alibrate_mode: unknown key, did you mean calibrate_mode?",
        ),
        (MINIMAL, {"frontend.type": ...}, "frontend.type: is missing, expected onnx, torchscript, caffe or mxnet"),
        (MINIMAL, {"name": ..., "model": "m"}, "model: unknown key, did you mean name?"),
        (
            FULL,
            {"graph.extra_ops": {"extra_ops": FULL["graph"]["extra_ops"]}},
            "graph.extra_ops.extra_ops: the section is nested in itself, move its keys up",
        ),
        (MINIMAL, {"frontend.type": "keras"}, "frontend.type: got 'keras', expected onnx, torchscript, caffe or mxnet"),
        # Values.
        (MINIMAL, {"name": "a/b"}, "name: got 'a/b', expected the name of a folder"),
        (MINIMAL, {"name": ""}, "name: got '', expected text"),
        (MINIMAL, {"frontend.shape": {}}, "frontend.shape: got 0 inputs (none), expected one"),
        (
            MINIMAL,
            {"frontend.shape": {"a": [1, 3, 8, 8], "b": [1, 3, 8, 8]}},
            "frontend.shape: got 2 inputs (a, b), expected one",
        ),
        (MINIMAL, {"frontend.shape": {"a": [1, 1, 8, 8]}}, "frontend.shape.a: got 1 channels, expected [N, 3, H, W]"),
        (MINIMAL, {"frontend.ladder": [[1, 3, 8]]}, "frontend.ladder.0: got "),
        (MINIMAL, {"frontend.ladder": [[1, 4, 8, 8]]}, "frontend.ladder.0: got 4 channels, expected [N, 3, H, W]"),
        (
            MINIMAL,
            {"frontend.shape": {"a": [1, 3, 8, 8]}, "frontend.ladder": [[2, 3, 8, 8], [1, 3, 8, 8]]},
            "frontend.ladder.1: got [1, 3, 8, 8] a second time; each shape is compiled once",
        ),
        (
            MINIMAL,
            {"frontend.shape": {"a": [1, 3, 8]}},
            "frontend.shape.a: got [1, 3, 8], expected [batch, 3, height, width]",
        ),
        (
            MINIMAL,
            {"frontend.shape": {"a": [1, 3, 8, "640"]}},
            "frontend.shape.a.3: got '640', expected a whole number",
        ),
        (MINIMAL, {"frontend.shape": {"a": [0, 3, 8, 8]}}, "frontend.shape.a.0: got 0, expected a whole number from 1"),
        (MINIMAL, {"backend.dtype": "int4"}, "backend.dtype: got 'int4', expected fp32, fp16, bf16 or int8"),
        (
            MINIMAL,
            {"backend.compile": {"threads": 0}},
            "backend.compile.threads: got 0, expected a whole number of 1 or more",
        ),
        (
            FULL,
            {"backend.quantize.calibrate_mode": "entropy"},
            "backend.quantize.calibrate_mode: got 'entropy', expected minmax, max, ",
        ),
        (
            FULL,
            {"backend.quantize.skip_conv_layers": [-1]},
            "backend.quantize.skip_conv_layers.0: got -1, expected a whole number from 0 to 32767 or text",
        ),
        (
            FULL,
            {"graph.extra_ops.params.nms_threshold": 1.5},
            "graph.extra_ops.params.nms_threshold: got 1.5, expected a number from 0 to 1",
        ),
        (FULL, {"graph.extra_ops.params.num_classes": 2}, "graph.extra_ops.params.num_classes: got 2, expected 1"),
        (
            FULL,
            {"graph.extra_ops.params.max_detections": 9999},
            "graph.extra_ops.params.max_detections: got 9999, expected a whole number from 1 to 5000",
        ),
        (
            FULL,
            {"graph.extra_ops.params.anchor": [16, 32]},
            "graph.extra_ops.params.anchor: got 2 sizes for 3 strides [8, 16, 32], expected two a stride: 6",
        ),
        (
            FULL,
            {"dataset.sampler.get_data_num": True},
            "dataset.sampler.get_data_num: got true, expected a whole number of 1 or more",
        ),
        (
            FULL,
            {"backend.quantize.max_drop": -0.1},
            "backend.quantize.max_drop: got -0.1, expected AP points, a number from 0 to 100 or null",
        ),
        (
            FULL,
            {"backend.quantize.evaluate": {"images": "val"}, "backend.quantize.max_drop": 1},
            "backend.quantize.evaluate.ground_truth: is missing, expected text",
        ),
        # Sections that contradict.
        (
            FULL,
            {"backend.quantize.max_drop": 0.3},
            "backend.quantize.max_drop: needs evaluate, the images and ground_truth that AP is measured on",
        ),
        (
            FULL,
            {"backend.quantize.evaluate": {"images": "val", "ground_truth": "gt"}},
            "backend.quantize.evaluate: needs max_drop, the AP points that int8 may lose on these images",
        ),
        (
            FULL,
            {
                "graph": ...,
                "backend.quantize.max_drop": 0.3,
                "backend.quantize.evaluate": {"images": "val", "ground_truth": "gt"},
            },
            "graph.extra_ops: is missing, backend.quantize.max_drop needs the boxes that it makes",
        ),
        (FULL, {"dataset": ...}, "dataset: is missing, backend.dtype int8 needs it"),
        (FULL, {"backend.quantize": ...}, "backend.quantize: is missing, backend.dtype int8 needs it"),
        (FULL, {"dataset.path": ...}, "dataset.path: is missing, backend.dtype int8 needs it"),
        (
            FULL,
            {"frontend.shape": {"input": [1, 3, 512, 512]}},
            "dataset.process_ops: they make a canvas of 640x640 (height x width), frontend.",
        ),
        # process_ops.
        (
            FULL,
            {"dataset.process_ops": OPS[1:]},
            "dataset.process_ops: got CvtColor, Resize, Pad, Normalize, ToTensor; expected DecodeImage first",
        ),
        (
            FULL,
            {"dataset.process_ops": OPS[:-1]},
            "dataset.process_ops: got DecodeImage, CvtColor, Resize, Pad, Normalize; expected",
        ),
        (FULL, {"dataset.process_ops": [*OPS[:2], OPS[4], *OPS[2:4], OPS[5]]}, "dataset.process_ops: got"),
        (FULL, {"dataset.process_ops": []}, "dataset.process_ops: got an empty list; expected DecodeImage first"),
        (
            FULL,
            {"dataset.process_ops.2": {"type": "Rezise"}},
            "dataset.process_ops.2.type: got 'Rezise', expected DecodeImage, CvtColor, Resize, Pad, ",
        ),
        (
            FULL,
            {"dataset.process_ops.2": {"type": "Resize", "size": [640, -1]}},
            "dataset.process_ops.2.size: got [640, -1]; -1 needs one other size",
        ),
        (
            FULL,
            {"dataset.process_ops.2": {"type": "Resize", "size": [640, 0]}},
            "dataset.process_ops.2.size.1: got 0, expected a size in px, or -1",
        ),
        (
            FULL,
            {"dataset.process_ops.3": {"type": "Pad"}},
            "dataset.process_ops.3: expected either pad_to_square: true or size",
        ),
        (
            FULL,
            {"dataset.process_ops.4": {"type": "Normalize", "mean": [1, 2], "std": [1, 1, 1]}},
            "dataset.process_ops.4.mean: got [1, 2], expected a list of 3 numbers",
        ),
        (
            FULL,
            {"dataset.process_ops.4": {"type": "Normalize", "mean": [1, 2, 3], "std": [1, 1, 0]}},
            "dataset.process_ops.4.std.2: got 0, expected a number above 0",
        ),
        (
            FULL,
            {"dataset.process_ops.4": {"type": "Normalize", "mean": [1, 2, 3]}},
            "dataset.process_ops.4: mean and std go together",
        ),
        (
            FULL,
            {"dataset.process_ops.4": {"type": "Normalize", "norm_type": "DIV255", "div255": False}},
            "dataset.process_ops.4: norm_type DIV255 contradicts div255: false",
        ),
    ],
)
def test_load_says_in_one_line_what_is_wrong(error_of, data, changes, message):
    text = error_of(data, changes)
    assert text.startswith(message)
    assert "\n" not in text


def test_load_lists_every_problem_of_a_file(error_of):
    changes = {"backend.dtype": "int4", "frontend.chekpoint": "x", "frontend.checkpoint": ..., "workspace": {}}
    assert error_of(MINIMAL, changes).splitlines() == [
        "3 problems",
        "  frontend.chekpoint: unknown key, did you mean checkpoint?",
        "  backend.dtype: got 'int4', expected fp32, fp16, bf16 or int8",
        "  workspace.path: is missing, expected text, on one line",
    ]


@pytest.mark.parametrize(
    ("ops", "accepted"),
    [
        ([{"type": "Resize", "size": [640, 640]}], True),
        ([{"type": "Resize", "size": [640, 480]}], False),
        ([{"type": "Resize", "size": [640, 480]}, {"type": "Pad", "pad_to_square": True}], True),
        (
            [
                {"type": "Resize", "size": [-1, 700], "adaptive_side": "short"},
                {"type": "CenterCrop", "size": [640, 640]},
            ],
            True,
        ),
        (
            [
                {"type": "Resize", "size": [-1, 700], "adaptive_side": "short"},
                {"type": "CenterCrop", "size": [600, 640]},
            ],
            False,
        ),
        ([{"type": "Resize", "size": [512, -1], "adaptive_side": "long"}, {"type": "Pad", "size": [640, 640]}], True),
        ([{"type": "Resize", "size": [512, -1], "adaptive_side": "long"}], True),
        ([], True),
    ],
)
def test_load_checks_the_canvas_of_process_ops_unless_it_depends_on_the_image(load, error_of, ops, accepted):
    changes = {"dataset.process_ops": [OPS[0], *ops, OPS[-1]]}
    if accepted:
        load(FULL, changes)
    else:
        assert error_of(FULL, changes).startswith("dataset.process_ops: they make a canvas of")


def test_load_takes_overrides(load):
    overrides = [
        "frontend.checkpoint=a=b.onnx",
        "frontend.shape.input=[2, 3, 512, 512]",
        "dataset.process_ops.2.size=[512, -1]",
        "backend.compile.threads=4",
    ]
    config = load(FULL, overrides=overrides)
    assert config.frontend.checkpoint == "a=b.onnx"
    assert config.frontend.shape_nchw == (2, 3, 512, 512)
    assert config.dataset.process_ops[2].size == (512, -1)
    assert (config.backend.compile.threads, config.backend.compile.cluster_mode) == (4, 0)


def test_override_finds_a_key_that_has_dots(load):
    config = load(
        MINIMAL,
        {"frontend.shape": {"input.1": [1, 3, 8, 8]}},
        ["frontend.shape.input.1.2=64", "backend.compile.threads=1"],
    )
    assert config.frontend.shape_nchw == (1, 3, 64, 8)
    assert config.backend.compile.threads == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("frontend.chekpoint=x", "frontend.chekpoint: unknown key, did you mean checkpoint?"),
        ("frontend.checkpoint=5", "frontend.checkpoint: got 5, expected text"),
        ("frontend.checkpoint=", "frontend.checkpoint: got null, expected text"),
        ("frontend", "--set frontend: expected section.key=value"),
        ("=x", "--set =x: expected section.key=value"),
        ("frontend..x=1", "--set frontend..x=1: expected section.key=value"),
        ("frontend.checkpoint.x=1", "--set frontend.checkpoint.x=1: 'x' lies inside the value 'm.onnx'"),
        ("dataset.process_ops.9.size=1", "--set dataset.process_ops.9.size=1: '9' is no place in a list of 6"),
        ("dataset.process_ops.x=1", "--set dataset.process_ops.x=1: 'x' is no place in a list of 6"),
        ('workspace.path="a\\0b"', "workspace.path: got 'a\\x00b', expected text, on one line"),
        ('name="a\\n"', "name: got 'a\\n', expected text, on one line"),
        ("name=''", "name: got '', expected text, on one line"),
        (f"graph.extra_ops.params.anchor.0={2**70}", f"graph.extra_ops.params.anchor.0: got {2**70}, expected a whole"),
        ("name=[1", "--set name=[1: is not valid YAML: line 1"),
        ("name=0x" + "f" * 5000, f"--set name=0x{'f' * 93}...: is not valid YAML: Exceeds the limit"),
        ("a\nb\x1b=1", "a\\nb\\x1b: unknown key"),
        (" =1", "--set  =1: expected section.key=value"),
        ("x" * 500, f"--set {'x' * 100}...: expected section.key=value"),
        ("name.x=" + "y" * 500, f"--set name.x={'y' * 93}...: 'x' lies inside the value 'm'"),
    ],
)
def test_load_says_what_is_wrong_with_an_override(error_of, override, message):
    text = error_of(FULL, overrides=[override])
    assert text.startswith(message)
    assert "\n" not in text


def test_every_shipped_config_loads():
    configs = shipped_configs()
    assert {"build_in/build/official_retinaface.yaml", "build_in/build/resnet50_int8.yaml"} < set(configs)
    for name, path in configs.items():
        if path.suffix == ".json":
            params = load_vdsp_params(path)
            order, mean = ("RGB" if "rgb" in name else "BGR"), ((0, 0, 0) if "no_mean" in name else (104, 117, 123))
            assert (params.canvas_hw, params.color_order, params.mean) == ((640, 640), order, mean)
            continue
        config = load_build_config(path)
        assert notes(config) == ()
        assert config.frontend.canvas_hw == (640, 640)
        first_line = path.read_text().splitlines()[0]
        assert first_line.startswith(f"# vamc compile {name}")
        if "official" not in name:
            kind = "ladder" if config.frontend.ladder else config.backend.dtype
            assert config.name == path.stem
            assert path.stem.endswith(f"_{kind}")
        if path.stem.startswith(("official", "mobilenet0.25_fp", "mobilenet0.25_int8", "resnet50")):
            assert config.graph.extra_ops.params.spec() == PriorSpec()


def test_shipped_configs_of_exported_nets_have_their_priors():
    checked = set()
    for path in shipped_configs().values():
        if path.suffix == ".yaml" and (config := load_build_config(path)).frontend.type == "onnx":
            net = Path(config.frontend.checkpoint).name.removesuffix("_640.onnx")
            if net in MODELS:
                assert config.graph.extra_ops.params.spec() == MODELS[net].priors
                checked.add(net)
    assert checked == set(MODELS)


def test_shipped_int8_configs_differ_from_fp32_in_what_int8_needs_alone():
    configs = {path.stem: path for path in shipped_configs().values() if path.suffix == ".yaml"}
    nets = {stem.removesuffix("_int8") for stem in configs if stem.endswith("_int8")}
    # There are no checkpoints of these to measure one with.
    without = {"DSFD", "lffd_face_v1", "lffd_face_v2"}
    assert nets == {stem.removesuffix("_fp32") for stem in configs if stem.endswith("_fp32")} - without
    for net in nets:
        integer, exact = (load_build_config(configs[f"{net}_{dtype}"]) for dtype in ("int8", "fp32"))
        assert integer.dataset.sampler == Sampler("jpg", 128)
        assert integer.dataset.process_ops == exact.dataset.process_ops
        assert replace(integer, name=exact.name, backend=exact.backend, dataset=exact.dataset) == exact
        assert replace(integer.backend, dtype="fp32", quantize=None) == exact.backend


def test_reference_configs_load_as_they_are(shared_data):
    folder = shared_data / "data" / "reference_configs"
    for name in ("official_retinaface", "official_scrfd", "official_yolov5_face"):
        config = load_build_config(folder / f"{name}.yaml")
        assert (config.name, config.backend.dtype) == (f"{name}_int8", "int8")
    with pytest.raises(
        ConfigError, match=r"example\.yaml: frontend\.type: got 'keras', expected onnx, torchscript, caffe or mxnet$"
    ):
        load_build_config(folder / "classification-percentile-example.yaml")
