"""`facedeploy profile`."""

import json

import pytest


@pytest.fixture
def profile(command, tiny_artifact):
    def with_words(*words, how=command):
        return how("profile", tiny_artifact.prefix, *words)

    return with_words


def test_table_is_printed_and_all_figures_written(profile, tmp_path):
    file = tmp_path / "new" / "figures.json"
    code, out, error = profile("--runs", 2, "--threads", 1, "--explain", "--json", file)
    assert (code, error) == (0, "")
    data = json.loads(file.read_text())
    lines = out.splitlines()
    assert "1 thread, 10 runs" in lines[0]
    assert f"{data['peak']['gflops']:.1f} GFLOP/s fp32" in lines[1]
    for kernel in data["kernels"]:
        assert any(f" {kernel['name']} " in line and f" {kernel['us']:.1f} " in line for line in lines)
        assert f"  tile: {kernel['reason'] or 'not one of ours'}" in lines
    assert lines[-1].startswith(f"call {data['call_us']:.1f} us, ")


def test_peers_are_columns(profile, tiny_artifact):
    pytest.importorskip("onnxruntime")
    code, out, error = profile("--runs", 1, "--onnx", tiny_artifact.onnx, "--versus", "onnxruntime")
    assert (code, error) == (0, "")
    assert out.splitlines()[3].split()[-2:] == ["onnxruntime", "layers"]
    assert "other nodes: " in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--versus", "openvino"], "--versus needs --onnx MODEL.onnx, the file that the artifact was compiled from"),
        (["--versus", "tflite"], "--versus: got 'tflite', expected onnxruntime, openvino, or both with a comma"),
        (["--onnx", "x.onnx"], "--onnx is for --versus: add --versus onnxruntime,openvino, or leave --onnx out"),
        (["--onnx", "x.onnx", "--versus", "onnxruntime"], "--onnx: there is no file x.onnx"),
        (["--threads", "200"], "threads: got 200, this process can use"),
        (["--runs", "0"], "argument --runs: got '0', expected a whole number from 1"),
    ],
)
def test_wrong_options_are_one_sentence(profile, refused, monkeypatch, tmp_path, words, said):
    monkeypatch.chdir(tmp_path)
    assert said in profile(*words, how=refused)


def test_bad_prefix_is_one_sentence(refused, tmp_path):
    assert "no artifact at" in refused("profile", tmp_path / "mod")


def test_json_that_cannot_be_written_is_one_sentence(profile, refused, tmp_path):
    assert "cannot be written (Is a directory)" in profile("--runs", 1, "--json", tmp_path, how=refused)
