"""`facedeploy perf` and `vamp`."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from facedeploy.cli.perf import image_shape


@pytest.fixture
def vamp(command, tiny_artifact):
    def with_words(*words, how=command):
        return how("perf", "-m", tiny_artifact.prefix, *words)

    return with_words


def write_json(path, **changes):
    config = {
        "IimageFormat": "RGB_PLANAR", "ColorCvtCode": "RGB2BGR", "OimageWidth": 128, "OimageHeight": 96,
        "ResizeType": "BILINEAR_CV", "NormaType": "MINUSMEAN_DIVSTD", "Mean": [104, 117, 123], "Std": [1, 1, 1],
        **changes,
    }  # fmt: skip
    path.write_text(json.dumps({"OpType": "FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR", "OpConfig": config}))
    return path


def test_figures_are_printed_and_written(vamp, tmp_path):
    options = ("-i", 2, "-p", 1, "-b", 1, "-d", 0, "-s", "[3,50,70]", "--iterations", 4, "--threads", 1)
    json_file = tmp_path / "new" / "figures.json"
    code, out, error = vamp("--vdsp_params", write_json(tmp_path / "v.json"), *options, "--json", json_file)
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "processes 1, instances 2 each, batch 1, threads 1 an instance, iterations 4 each"
    assert [line.split()[0] for line in lines[1:8]] == [
        *("throughput", "latency", "stages"),
        *("preprocess", "infer", "postprocess", "total"),
    ]
    assert lines[8].startswith("-: too few calls")
    figures = json.loads(json_file.read_text())
    assert (figures["images"], figures["instances"], figures["note"]) == (8, 2, "")


def test_figures_are_written_although_the_histogram_cannot_be(vamp, tmp_path):
    (tmp_path / "taken").touch()
    words = ("--iterations", 5, "--json", tmp_path / "f.json", "--histogram", tmp_path / "taken" / "h.png")
    assert vamp(*words)[0] == 2
    assert json.loads((tmp_path / "f.json").read_text())["images"] == 5


def test_histogram_is_a_png_that_opencv_reads(vamp, tmp_path):
    code, _, error = vamp("--iterations", 30, "--histogram", tmp_path / "new" / "h.png")
    assert (code, error) == (0, "")
    data = (tmp_path / "new" / "h.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n")
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (480, 960, 3)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["h.png"]


def test_real_images_arrive_at_a_rate(vamp, photos, tmp_path):
    options = ("--file_path", photos, "--rate", 200, "-i", 2, "--iterations", 10, "--json", tmp_path / "f.json")
    code, out, error = vamp(*options)
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"6 of 6 images of {photos}, in turn"
    assert lines[1].startswith("processes 1, instances 2 each, batch 1, threads ")
    assert lines[5].split()[0] == "queue"
    assert any(line.startswith("open loop: 200 requests/s of batch 1 arrived") for line in lines)
    figures = json.loads((tmp_path / "f.json").read_text())
    assert (figures["rate"], figures["images"]) == (200.0, 20)
    assert figures["seconds"] >= 19 / 200
    assert list(figures["stage_ms"]) == ["queue", "preprocess", "infer", "postprocess"]


def test_batches_are_a_table_and_a_list(command, tiny_artifact, compile_tiny, tmp_path):
    for artifact in (tiny_artifact, compile_tiny(2)):
        shutil.copytree(artifact.prefix.parent, tmp_path / f"x_b{artifact.batch}")
    words = (
        "-m",
        tmp_path / "x_b{batch}" / "mod",
        "--batches",
        "1,2",
        "--iterations",
        20,
        "--json",
        tmp_path / "f.json",
    )
    code, out, error = command("perf", *words)
    assert (code, error) == (0, "")
    header, *rows = [line.split() for line in out.splitlines()[:3]]
    assert header == ["batch", "preprocess", "infer", "postprocess", "total", "p50", "p99", "ms/image", "images/s"]
    for row, figures in zip(rows, json.loads((tmp_path / "f.json").read_text()), strict=True):
        means = [figures["stage_ms"][stage]["mean"] for stage in ("preprocess", "infer", "postprocess")]
        total = figures["latency_ms"]["mean"]
        assert row[:5] == [str(figures["batch"]), *(f"{mean:.3f}" for mean in (*means, total))]
        assert row[5:] == [
            f"{figures['latency_ms']['p50']:.3f}",
            "-",
            f"{total / figures['batch']:.3f}",
            f"{figures['images_per_second']:.2f}",
        ]
        assert figures["images"] == 20 * figures["batch"]
    assert [row[0] for row in rows] == ["1", "2"]


def test_json_that_normalizes_otherwise_is_followed_and_a_line_says_so(vamp, tmp_path):
    code, out, error = vamp("--iterations", 1, "--vdsp_params", write_json(tmp_path / "v.json", Mean=[0, 0, 0]))
    assert (code, out.split()[0]) == (0, "processes")
    assert error.startswith(
        "the vdsp JSON normalizes as BGR (pixel / 1 - [0, 0, 0]) / [1, 1, 1], the artifact was built"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-i", "2", "p", "2"], "got 'p 2', which belongs to no option: did you mean -p 2?"),
        (["-i", "2", "p", "2", "-b", "1"], "got 'p 2', which belongs to no option: did you mean -p 2?"),
        (["nonsense"], "got 'nonsense', which belongs to no option: --help lists the options"),
        (["-d", "3"], "device: got 3; the devices here: 0 ("),
        (["-b", "4"], "/mod holds 1; frontend.shape and frontend.ladder of the build config decide"),
        (["-i", "0"], "argument -i/--instances: got '0', expected a whole number from 1"),
        (["-p", "x"], "argument -p/--processes: got 'x'"),
        (["-p", "1000"], "argument -p/--processes: got '1000', expected a whole number from 1 to 256"),
        (["--iterations", "-5"], "argument --iterations: got '-5', expected a whole number from 1"),
        (["-s", "640"], "argument -s/--shape: got '640', expected [3,H,W], such as [3,480,640]"),
        (["-s", "[3,99999,1]"], "sides of at most 16384 px"),
        (["--max_detections", "100000"], "max_detections: got 100000, expected a whole number from 1 to 5000"),
        (["--threads", "200"], "threads: got 200, this process can use"),
        (["--datalist", "l.txt"], "--datalist and --path_output go together"),
        (["--path_output", "out"], "--datalist and --path_output go together"),
        (["--datalist", "l.txt", "--path_output", "out", "--json", "x"], "leave one out"),
        (["--datalist", "l.txt", "--path_output", "out", "--rate", "5"], "--rate belongs to a measurement"),
        (["--datalist", "l.txt", "--path_output", "out", "--file_path", "x"], "--file_path belongs to a measurement"),
        (["--rate", "0"], "argument --rate: got '0', expected requests a second, above 0"),
        (["--rate", "nan"], "argument --rate: got 'nan', expected requests a second, above 0"),
        (["--batches", "1,0"], "argument --batches: got '0', expected a whole number from 1"),
        (["--batches", "2,2"], "argument --batches: got '2,2', expected different whole numbers, such as 1,2,4"),
        (["--batches", "1,2"], "/mod holds 1, not 2: compile with the batch in frontend.shape or frontend.ladder"),
        (["--batches", "1", "-b", "1"], "-b and --histogram go with a single one: leave one out"),
        (["--batches", "1", "--histogram", "x.png"], "-b and --histogram go with a single one: leave one out"),
        (["--histogram", "x.jpg"], "--histogram: got x.jpg, expected a name that ends with .png"),
        (["--file_path", "nowhere"], "nowhere: there is no such file or folder"),
        (["--file_path", ".", "-s", "[3,5,5]"], "--file_path brings images of their own size, --shape random ones"),
        (["--datalist", "l.txt", "--path_output", "out"], "l.txt: cannot be read (No such file or directory)"),
        (["--vdsp_params", "vdsp_params/official-retinaface_resnet50-vdsp_params.json"], "makes a canvas of 640x640"),
    ],
)
def test_wrong_options_are_one_sentence(vamp, refused, monkeypatch, tmp_path, words, said):
    monkeypatch.chdir(tmp_path)
    assert said in vamp(*words, how=refused)


def test_slip_of_the_references_documents_is_met_before_anything_else_is_asked(refused):
    assert refused("perf", "-i", 2, "p", 2) == "got 'p 2', which belongs to no option: did you mean -p 2?"


def test_bad_prefix_is_one_sentence_whatever_the_number_of_processes(refused, tmp_path):
    for processes in (1, 2):
        assert "no artifact at" in refused("perf", "-m", tmp_path / "mod", "-p", processes)


def test_json_file_that_cannot_be_written_is_one_sentence(vamp, refused, tmp_path):
    assert "cannot be written (Is a directory)" in vamp("--iterations", 1, "--json", tmp_path, how=refused)


@pytest.mark.parametrize("text", ["[3,480,640]", "3,480,640", "[3, 480, 640]", " [3,480,640]".strip()])
def test_shape_is_channels_height_width(text):
    assert image_shape(text) == (480, 640)


def members(group):
    """Processes of a process group that run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # It has just ended.
        if int(of_group) == group and state != "Z":
            found.append(stat.parent.name)
    return found


def none_is_left(group):
    """Python's own resource tracker ends a moment after the process that started it."""
    deadline = time.monotonic() + 10
    while members(group) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not members(group)


def test_vamp_starts_processes_and_leaves_none(start, vamp_script, tiny_artifact, tmp_path):
    write_json(tmp_path / "v.json")
    options = ("--vdsp_params", "v.json", "-i", 2, "-p", 2, "-b", 1, "--iterations", 5, "--json", "f.json")
    process = start(*vamp_script, "-m", tiny_artifact.prefix, *options)
    out, error = process.communicate(timeout=150)
    assert (process.returncode, error) == (0, "")
    assert out.startswith("processes 2, instances 2 each, batch 1, threads ")
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["images"] == 2 * 2 * 5
    assert figures["seconds"] > 0
    assert none_is_left(process.pid)


def test_keyboard_interrupt_ends_vamp_and_its_processes_with_one_word(start, vamp_script, tiny_artifact, tmp_path):
    if not Path("/proc/self/stat").exists():
        pytest.skip("this system has no /proc to tell which processes run")
    process = start(*vamp_script, "-m", tiny_artifact.prefix, "-p", 2, "--iterations", 100_000_000)
    deadline = time.monotonic() + 60
    while len(members(process.pid)) < 4 and time.monotonic() < deadline:  # It, two workers, Python's resource tracker.
        time.sleep(0.05)
    time.sleep(0.5)  # The workers import; a traceback would be theirs.
    os.killpg(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out, error) == (130, "", "vamp: interrupted\n")
    assert none_is_left(process.pid)
