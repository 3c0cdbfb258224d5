"""`facedeploy quantize` as a person runs it: the model that it writes, what it says, its errors."""

import json
import re
import shutil
import sys

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="quantizing rewrites ONNX graphs")
onnxruntime = pytest.importorskip("onnxruntime", reason="quantizing runs ONNX graphs")

from facedeploy.compiler.frontend.reshape_onnx import reshape_onnx  # noqa: E402
from facedeploy.config.load import load_build_config  # noqa: E402
from facedeploy.image.dataset import list_images  # noqa: E402
from facedeploy.image.process_ops import run_process_ops  # noqa: E402
from facedeploy.runtime.model import Model  # noqa: E402

CONVOLUTIONS = 14  # Of the tiny net, three heads on three levels.


@pytest.fixture
def words(int8_words, tiny_artifact, tmp_path):
    """A command line that quantizes the tiny net on the .jpg photos, with more overrides."""
    checkpoint = shutil.copy(tiny_artifact.onnx, tmp_path / "float.onnx")

    def make(*overrides):
        settings = {"frontend.checkpoint": checkpoint} | dict(override.split("=", 1) for override in overrides)
        return int8_words("quantize", settings)

    return make


@pytest.fixture
def written(tmp_path):
    return tmp_path / "workspace/tiny/tiny.qdq.onnx"


@pytest.fixture
def noise(tiny_artifact, photos):
    """Root mean square of what integers change, over that of the values, of each output for all the photos."""
    config = load_build_config(tiny_artifact.onnx.with_name("tiny.yaml"))
    images = [run_process_ops(image.path, config.dataset.process_ops)[None] for image in list_images(photos)]

    def of(path, exact=tiny_artifact.onnx):
        sums = None
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        float_net, integer_net = (
            onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            for file in (exact, path)
        )
        for image in images:
            pairs = zip(*(net.run(None, {"input": image}) for net in (float_net, integer_net)), strict=True)
            found = np.array([[((got - want) ** 2).sum(), (want**2).sum()] for want, got in pairs])
            sums = found if sums is None else sums + found
        return np.sqrt(sums[:, 0] / sums[:, 1])

    return of


def operators(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def test_written_model_runs_in_onnxruntime_close_to_the_float_one(command, words, written, noise, tmp_path):
    code, out, error = command(*words())
    assert (code, error) == (0, "")
    onnx.checker.check_model(str(written))
    assert operators(written).count("Conv") == CONVOLUTIONS
    assert "QuantizeLinear" in operators(written)
    found = noise(written)
    assert (found > 0).all()
    assert (found < 0.05).all(), found
    (ranges,) = (tmp_path / "workspace/.ranges").iterdir()
    lines = out.splitlines()
    assert lines[-4:-1] == [
        f"ranges of 3 calibration images (minmax): kept in {ranges} for the next time",
        f"layers  {CONVOLUTIONS} of {CONVOLUTIONS} convolutions in int8",
        f"wrote   {written} ({written.stat().st_size:,} bytes)",
    ]
    assert lines[-1].startswith("facedeploy compile takes it as frontend.checkpoint; it runs in onnxruntime too (on a")
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_compile_quantizes_the_same_and_says_what_it_gains(command, words, written, tmp_path):
    command(*words())
    _, *settings = words()
    code, out, error = command("compile", *settings)
    assert (code, error) == (0, "")
    assert "int8: " in out
    assert f"layers  {CONVOLUTIONS} of {CONVOLUTIONS} convolutions in int8\n" in out
    assert re.search(r"^speed   int8 [0-9.]+ ms, fp32 [0-9.]+ ms on this machine, 1 thread \(", out, re.MULTILINE)
    folder = tmp_path / "workspace/tiny"
    assert json.loads((folder / "mod.json").read_text())["dtype"] == "int8"
    assert {path.name for path in folder.iterdir()} == {"mod.so", "mod.params", "mod.json", written.name}
    made = [(folder / name).read_bytes() for name in ("mod.so", "mod.params")]
    code, out, _ = command("compile", *settings, "--set", f"frontend.checkpoint={written}", "--set", "name=again")
    assert code == 0
    assert f"{written} is quantized already: its integers are used" in out
    assert "speed   " not in out
    assert [(tmp_path / "workspace/again" / name).read_bytes() for name in ("mod.so", "mod.params")] == made


def test_int8_artifact_is_close_to_the_float_one(command, words, tiny_artifact, photos, tmp_path):
    _, *settings = words()
    assert command("compile", *settings, "--no-speed")[0] == 0
    config = load_build_config(tiny_artifact.onnx.with_name("tiny.yaml"))
    models = [Model.open(prefix) for prefix in (tiny_artifact.prefix, tmp_path / "workspace/tiny/mod")]
    for image in list_images(photos):
        tensor = run_process_ops(image.path, config.dataset.process_ops)[None]
        exact, got = (model.infer(tensor) for model in models)
        for name, values in exact.items():
            assert np.sqrt(((got[name] - values) ** 2).mean()) < 0.08 * np.sqrt((values**2).mean()), name


def test_every_shape_of_a_ladder_has_the_integers_of_the_first(command, words, written, tmp_path):
    """Ranges are of the first shape; onnxruntime runs the written model at the other."""
    command(*words())
    _, *settings = words("frontend.ladder=[[2, 3, 64, 160]]")
    assert command("compile", *settings, "--no-speed")[0] == 0
    first = Model.open(tmp_path / "workspace/tiny/mod")
    second = first.at(first.manifest.ladder[1])
    net = reshape_onnx(onnx.load(written), first.rung.input, second.rung.input)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(net.SerializeToString(), options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 160)).astype(np.float32) - 120
    for (name, got), expected in zip(second.infer(image).items(), session.run(None, {"input": image}), strict=True):
        assert np.sqrt(((got - expected) ** 2).mean()) < 0.02 * np.sqrt((expected**2).mean()), name
    alone = tmp_path / "alone"
    command("compile", *words()[1:], "--set", f"workspace.path={alone}", "--no-speed")
    assert first.artifact.params.stat().st_size < 1.5 * (alone / "tiny/mod.params").stat().st_size


def test_second_run_reads_the_ranges_and_writes_the_same(command, words, written):
    command(*words())
    first = written.read_bytes()
    code, out, _ = command(*words())
    assert code == 0
    assert "ranges of 3 calibration images (minmax): from " in out
    assert "kept in" not in out
    assert written.read_bytes() == first


def test_skipped_layers_stay_float_and_are_named(command, words, tmp_path):
    output = tmp_path / "new" / "mine.onnx"
    code, out, _ = command(*words("backend.quantize={skip_conv_layers: [0, 'conf*']}"), "--output", output)
    assert code == 0
    assert f"layers  {CONVOLUTIONS - 4} of {CONVOLUTIONS} convolutions in int8; in float: conv0, conf2, conf3" in out
    constants = {entry.name: entry.data_type for entry in onnx.load(output).graph.initializer}
    assert constants["conv0.w"] == onnx.TensorProto.FLOAT
    assert "conv1.w" not in constants
    assert not (tmp_path / "workspace/tiny").exists()


def test_bar_is_for_terminals_alone(command, words, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, error = command(*words())
    assert code == 0
    assert "calibrate" in error
    assert "calibrate:" not in out
    assert "ranges of 3 calibration images" in out


def test_older_opset_is_made_newer(command, words, written, noise, tmp_path):
    model = onnx.load(tmp_path / "float.onnx")
    model.opset_import[0].version = 11  # None of its operators is another one there.
    onnx.save(model, str(tmp_path / "float.onnx"))
    assert command(*words())[0] == 0
    assert onnx.load(written).opset_import[0].version >= 13
    assert (noise(written) < 0.05).all()


def test_torchscript_is_converted(command, words, written, tmp_path):
    torch = pytest.importorskip("torch", reason="TorchScript is read through torch")
    pytest.importorskip("onnxsim", reason="converting TorchScript needs onnxsim")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 3)).eval()
    torch.jit.trace(net, torch.zeros(1, 3, 96, 128)).save(str(tmp_path / "float.pt"))
    code, out, error = command(*words("frontend.type=torchscript", f"frontend.checkpoint={tmp_path}/float.pt"))
    assert (code, error) == (0, "")
    assert "layers  2 of 2 convolutions in int8" in out
    assert operators(written).count("DequantizeLinear") == 4


def test_images_that_are_not_evaluated_may_be_used(command, words, photos, tmp_path):
    others = tmp_path / "others"
    others.mkdir()
    (others / "x.png").write_bytes(next(photos.rglob("*.PNG")).read_bytes())
    assert command(*words(), "--evaluation", others)[0] == 0


def test_images_that_are_evaluated_are_refused(refused, words, photos, tmp_path):
    listed = tmp_path / "evaluation.txt"
    listed.write_text(f"{next(photos.rglob('*.jpg'))}\n")
    assert refused(*words(), "--evaluation", listed).startswith("dataset.path: 1 of the 3 calibration images are also")
    assert refused(*words(), "--evaluation", tmp_path / "no").startswith("--evaluation: ")
    assert not (tmp_path / "workspace").exists()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["backend.dtype=fp32"], "backend.dtype: got fp32, quantizing needs a config of int8, such as build_in/build/"),
        (["backend.quantize=null"], "backend.quantize: is missing, backend.dtype int8 needs it to calibrate"),
        (["dataset.path=null"], "dataset.path: is missing, backend.dtype int8 needs it to calibrate"),
        (["dataset.path=nowhere"], "dataset.path: nowhere: there is no such file or folder (the current folder is "),
        (["dataset.path=."], "dataset.path: . has no image in it or below"),
        (["dataset.sampler.suffix=bmp"], "dataset.sampler.suffix: got bmp, none of the 6 images of "),
        (["frontend.checkpoint=no.onnx"], "frontend.checkpoint: no.onnx does not exist (current directory: "),
        (["frontend.shape={data: [1, 3, 96, 128]}"], "frontend.shape: got an input 'data', the input of "),
        (["frontend.type=torchscript"], "is not TorchScript"),
        (["backend.quantize.skip_conv_layers=[conv9]"], "backend.quantize.skip_conv_layers: no convolution of the"),
    ],
)
def test_mistake_is_one_sentence(refused, words, tmp_path, monkeypatch, overrides, said):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    if overrides[0].startswith("frontend.type"):
        pytest.importorskip("torch", reason="TorchScript is read through torch")
        pytest.importorskip("onnxsim", reason="converting TorchScript needs onnxsim")
    assert said in refused(*words(*overrides))
    assert not (tmp_path / "workspace").exists()


def test_models_that_cannot_be_quantized_are_one_sentence(command, refused, words, tmp_path):
    output = tmp_path / "quantized.onnx"
    assert command(*words(), "--output", output)[0] == 0
    said = refused(*words(f"frontend.checkpoint={output}"))
    assert said == "frontend.checkpoint: the model is quantized already, expected a float one to calibrate"
    model = onnx.load(tmp_path / "float.onnx")
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.append(onnx.helper.make_node("Flatten", ["input"], ["loc"]))
    del model.graph.output[1:]
    model.graph.output[0].type.tensor_type.shape.Clear()
    model.graph.output[0].type.tensor_type.shape.dim.add()
    model.graph.output[0].type.tensor_type.shape.dim.add()
    for version, sentence in (17, "has no convolutions"), (6, "int8 needs a model of opset 13 or newer, got 6"):
        model.opset_import[0].version = version
        onnx.save(model, str(output))
        assert sentence in refused(*words(f"frontend.checkpoint={output}"))


def test_damaged_image_is_one_sentence(refused, words, photos, written):
    next(photos.rglob("*.jpg")).write_bytes(b"no image")
    assert ".jpg" in refused(*words())
    assert not written.exists()


def test_image_that_does_not_suit_process_ops_is_named(refused, words):
    said = refused(
        *words("dataset.process_ops.3.size=[128, 96]", "dataset.process_ops.2={type: CvtColor, code: COLOR_BGR2RGB}")
    )
    assert ".jpg: process_ops: Pad to 128x96 does not suit an image of " in said


def test_output_that_cannot_be_written_is_one_sentence(refused, words, tmp_path):
    before = (tmp_path / "float.onnx").read_bytes()
    said = refused(*words(), "--output", tmp_path / "float.onnx")
    assert said.endswith("is frontend.checkpoint, the float model: name another file")
    assert (tmp_path / "float.onnx").read_bytes() == before
    assert "cannot be written (Is a directory)" in refused(*words(), "--output", tmp_path)
