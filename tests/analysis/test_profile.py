"""The profile of a small artifact; what is measured is checked for being consistent, never for being fast."""

import json
import sys
from dataclasses import replace

import onnx
import pytest

from facedeploy.analysis.peers import PEERS, open_peers
from facedeploy.analysis.profile import profile
from facedeploy.artifact.store import open_artifact
from facedeploy.core.cores import available_cores
from facedeploy.core.errors import ConfigError, DependencyError


@pytest.fixture(scope="module")
def report(tiny_artifact):
    return profile(tiny_artifact.prefix, runs=3, threads=1)


@pytest.fixture(scope="module")
def convolutions(tiny_artifact):
    return [node.output[0] for node in onnx.load(tiny_artifact.onnx).graph.node if node.op_type == "Conv"]


def test_kernels_have_the_layers_of_the_net_and_shares_of_their_sum(report, convolutions):
    assert sorted(layer for kernel in report.kernels for layer in kernel.layers) == sorted(convolutions)
    assert sum(kernel.share for kernel in report.kernels) == pytest.approx(1)
    for kernel in report.kernels:
        assert kernel.share == pytest.approx(kernel.us / report.kernels_us)
        assert kernel.gigabytes_per_second == pytest.approx(kernel.bytes / kernel.us / 1000, rel=1e-3)
        assert kernel.bandwidth_share == pytest.approx(kernel.gigabytes_per_second / report.peak.gigabytes_per_second)
        if kernel.layers:
            assert kernel.gflops == pytest.approx(2 * kernel.multiply_adds / kernel.us / 1000, rel=1e-3)
            assert kernel.peak_share == pytest.approx(kernel.gflops / report.peak.gflops)
            assert kernel.reason


def test_runs_are_whole_rounds(report):
    assert (report.runs, report.threads) == (10, 1)


def rows_of(report, **options):
    lines = report.lines(**options)
    head = next(index for index, line in enumerate(lines) if line.lstrip().startswith("#  kernel"))
    return [line.split() for line in lines[head + 1 : head + 1 + len(report.kernels)]]


def test_table_agrees_with_the_json_and_has_the_slowest_first(report):
    data = json.loads(json.dumps(report.to_json()))
    rows = rows_of(report)
    assert sorted(int(row[0]) for row in rows) == list(range(1, len(data["kernels"]) + 1))
    times = []
    for place, name, us, share, *_ in rows:
        kernel = data["kernels"][int(place) - 1]
        assert (name, us, share) == (kernel["name"], f"{kernel['us']:.1f}", f"{100 * kernel['share']:.1f}")
        times.append(kernel["us"])
    assert times == sorted(times, reverse=True)
    assert report.lines()[-1] == (
        f"call {data['call_us']:.1f} us, of which Python {data['python_us']:.1f}; {len(rows)} kernels, "
        f"called one by one, {data['kernels_us']:.1f}"
    )


def test_explanation_has_every_layer_and_reason(report, convolutions):
    text = "\n".join(report.lines(explain=True))
    assert all(layer in text for layer in convolutions)
    assert all(kernel.reason in text for kernel in report.kernels if kernel.reason)
    assert "registers" not in "\n".join(report.lines())


def test_two_threads_have_peaks_of_two(tiny_artifact):
    if available_cores() < 2:
        pytest.skip("one CPU")
    assert profile(tiny_artifact.prefix, runs=1, threads=2).threads == 2


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_peer_is_matched_layer_by_layer_and_its_totals_agree(name, tiny_artifact):
    pytest.importorskip(name, reason=f"{name} is not installed (extra bench)")
    report = profile(tiny_artifact.prefix, runs=1, threads=1, onnx=tiny_artifact.onnx, versus=[name])
    peer = report.peers[name]
    matched = [kernel for kernel in report.kernels if kernel.peers_us[name] is not None]
    assert [kernel.name for kernel in matched] == [kernel.name for kernel in report.kernels if kernel.layers]
    same = sum(node.us for node in peer.nodes if node.kernel is not None)
    assert sum(kernel.peers_us[name] for kernel in matched) == pytest.approx(same)
    for index, kernel in enumerate(report.kernels):
        layers = [layer for node in peer.nodes if node.kernel == index for layer in node.layers]
        assert sorted(layers) == sorted(kernel.layers)
    assert any(node.kernel is None for node in peer.nodes)
    (line,) = (line for line in report.lines() if line.startswith(f"{name} "))
    assert f"call {peer.call_us:.1f} us = our kernels' layers {same:.1f} (ours " in line


def test_missing_package_is_one_sentence(tiny_artifact, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DependencyError, match=r"needs the package openvino.*pip install 'facedeploy\[bench\]'"):
        profile(tiny_artifact.prefix, onnx=tiny_artifact.onnx, versus=["openvino"])


def test_peer_that_cannot_run_the_file_is_one_sentence(tiny_artifact, monkeypatch):
    def failing(*_):
        raise RuntimeError("no kernel for Conv\nand much more")

    monkeypatch.setitem(PEERS, "onnxruntime", failing)
    artifact = open_artifact(tiny_artifact.prefix)
    with pytest.raises(ConfigError) as caught:
        open_peers(["onnxruntime"], tiny_artifact.onnx, artifact, None, 1)
    assert str(caught.value) == f"--versus: onnxruntime cannot run {tiny_artifact.onnx}: no kernel for Conv"


def test_other_file_than_the_artifacts_is_refused(tiny_artifact, tmp_path):
    other = tmp_path / "other.onnx"
    other.write_bytes(tiny_artifact.onnx.read_bytes() + b"\0")
    artifact = open_artifact(tiny_artifact.prefix)
    with pytest.raises(ConfigError, match=r"other.onnx \(sha256 .*is not the file that .*was compiled from, tiny.onnx"):
        open_peers(["onnxruntime"], other, artifact, None, 1)
    with pytest.raises(ConfigError, match=r"there is no file .*nothing\.onnx"):
        open_peers(["onnxruntime"], tmp_path / "nothing.onnx", artifact, None, 1)


def test_artifact_of_torchscript_has_no_peers(tiny_artifact):
    artifact = open_artifact(tiny_artifact.prefix)
    manifest = replace(artifact.manifest, source=replace(artifact.manifest.source, type="pytorch", file="net.pt"))
    with pytest.raises(ConfigError, match=r"was compiled from pytorch \(net.pt\), and peers run ONNX"):
        open_peers(["onnxruntime"], tiny_artifact.onnx, replace(artifact, manifest=manifest), None, 1)
