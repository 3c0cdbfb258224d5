"""Where test data is, and what this machine lacks: a test that cannot run here skips and says why."""

import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent
# Else the first parallel kernel that a test calls ties the whole run to one CPU.
os.environ.setdefault("TVM_BIND_THREADS", "0")
# How long an example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def interrupts() -> None:
    """A job in the background of a script starts with SIGINT ignored, and so would all that the tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and checkpoints (FACEDEPLOY_DATA, by default ../shared)."""
    folder = Path(os.environ.get("FACEDEPLOY_DATA", REPOSITORY.parent / "shared")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}: set FACEDEPLOY_DATA to a folder that has data/ and weights/")
    return folder


@dataclass(frozen=True)
class TinyArtifact:
    """A compiled net of random weights that finds dozens of boxes in any picture, and the ONNX it came from.

    `batch` and `canvas_hw` are those of its first shape.
    """

    prefix: Path
    onnx: Path
    batch: int
    canvas_hw: tuple[int, int] = (96, 128)


@pytest.fixture(scope="session")
def compile_tiny(tmp_path_factory):
    """Compile the tiny net for a batch size; takes a few seconds."""
    for module in ("onnx", "tvm"):
        pytest.importorskip(module, reason=f"compiling needs {module}")
    if not shutil.which("cc"):
        pytest.skip("compiling needs a C compiler (cc)")
    from facedeploy.compiler.build import compile_model
    from facedeploy.config.load import load_build_config

    def compile_for(batch: int, ladder: tuple[tuple[int, ...], ...] = ()) -> TinyArtifact:
        folder = tmp_path_factory.mktemp(f"tiny{batch}")
        write_tiny_onnx(folder / "tiny.onnx", batch)
        (folder / "tiny.yaml").write_text(TINY_YAML.format(folder=folder, batch=batch, ladder=list(map(list, ladder))))
        artifact = compile_model(load_build_config(folder / "tiny.yaml"))
        return TinyArtifact(artifact.prefix, folder / "tiny.onnx", batch)

    return compile_for


@pytest.fixture(scope="session")
def tiny_artifact(compile_tiny) -> TinyArtifact:
    """For one image at a time."""
    return compile_tiny(1)


@pytest.fixture(scope="session")
def tiny_ladder(compile_tiny) -> TinyArtifact:
    """For one image or three at a time, and on more canvases."""
    return compile_tiny(1, ((3, 3, 96, 128), (1, 3, 64, 128), (1, 3, 128, 96)))


TINY_YAML = """
name: tiny
frontend:
  type: onnx
  checkpoint: {folder}/tiny.onnx
  shape: {{input: [{batch}, 3, 96, 128]}}
  ladder: {ladder}
backend: {{type: tvm, dtype: fp32, target: host}}
graph:
  extra_ops:
    type: retinaface_nms
    params: {{nms_threshold: 0.4, confidence_threshold: 0.5, max_detections: 200, anchor: [16, 32, 64, 128, 256, 512]}}
dataset:
  process_ops:
    - {{type: DecodeImage}}
    - {{type: CvtColor, code: COLOR_RGB2BGR}}
    - {{type: Resize, size: [128, 96], adaptive_side: long}}
    - {{type: Pad, size: [128, 96]}}
    - {{type: Normalize, div255: false, mean: [104, 117, 123], std: [1, 1, 1]}}
    - {{type: ToTensor}}
workspace: {{path: {folder}/deploy_weights}}
"""


def write_tiny_onnx(path: Path, batch: int) -> None:
    """Five strided convolutions; loc, conf and landms from the last three levels, as in RetinaFace."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    nodes, constants, channels = [], [], 8
    heads = {"loc": (4, []), "conf": (2, []), "landms": (10, [])}

    def add(operator, name, *inputs, **attributes):
        nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(name, array):
        constants.append(numpy_helper.from_array(array, name))
        return name

    def convolution(source, name, in_channels, out_channels, kernel, gain, **attributes):
        weight = (
            random.standard_normal((out_channels, in_channels, kernel, kernel)) * gain / (in_channels**0.5 * kernel)
        )
        bias = random.standard_normal(out_channels) * 0.1
        inputs = constant(f"{name}.w", np.float32(weight)), constant(f"{name}.b", np.float32(bias))
        return add("Conv", name, source, *inputs, **attributes)

    level = "input"
    for depth in range(5):
        gain, in_channels = (0.02, 3) if depth == 0 else (1.4, channels)
        halved = convolution(level, f"conv{depth}", in_channels, channels, 3, gain, strides=[2, 2], pads=[1] * 4)
        level = add("Relu", f"level{depth}", halved)
        if depth < 2:
            continue
        for head, (width, parts) in heads.items():
            name = convolution(level, f"{head}{depth}", channels, 2 * width, 1, 3.0 if head == "conf" else 1.0)
            last = add("Transpose", f"{name}.last", name, perm=[0, 2, 3, 1])
            shape = constant(f"{name}.shape", np.array([batch, -1, width], np.int64))
            parts.append(add("Reshape", f"{name}.rows", last, shape))
    for head, (_, parts) in heads.items():
        add("Concat", "logits" if head == "conf" else head, *parts, axis=1)
    add("Softmax", "conf", "logits", axis=-1)

    def tensor(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape])

    outputs = [tensor(head, 504, width) for head, (width, _) in heads.items()]
    graph = helper.make_graph(nodes, "tiny", [tensor("input", 3, 96, 128)], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


# An OpenCV that some bytes crash or hang; processes that have loaded the true one before keep that.
FAKE_CV2 = """
import ctypes, os, signal, sys
folder = os.path.dirname(__file__)
sys.path.remove(folder)
del sys.modules["cv2"]
import cv2
decode = cv2.imdecode
def imdecode(data, flags):
    start = data.tobytes()[:5]
    if start == b"SEGV!":
        os.kill(os.getpid(), signal.SIGSEGV)
    if start == b"ABORT":
        os.abort()
    if start == b"EXIT!":
        os._exit(3)
    if start == b"HANG!":
        open(os.path.join(folder, "hangs"), "w").write(str(os.getpid()))
        ctypes.PyDLL(None).pause()  # No other thread of Python runs meanwhile.
    return decode(data, flags)
cv2.imdecode = imdecode
"""


@pytest.fixture
def fake_opencv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the fake OpenCV, which workers find first."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "cv2.py").write_text(FAKE_CV2)
    monkeypatch.syspath_prepend(tmp_path / "fake")
    return tmp_path / "fake"
