"""`facedeploy run --stats`."""

import json
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from facedeploy.cli.statistics import ADVICE, sentence
from facedeploy.core.cores import available_cores
from facedeploy.runtime.statistics import StageStatistics, StreamStatistics

IDLE = StageStatistics("", 1, 9, 9, 0, 0.0, 0.0, 1.0, 0.0, 0.01, 0.0, None, None)


def statistics(cpu_s=0.5, **shares):
    """One second in which the stages named were busy for these shares."""
    names = ("input", "decode", "preprocess", "infer", "to source", "write", "output")
    stages = (replace(IDLE, name=name, busy_share=shares.get(name, 0.01)) for name in names)
    return StreamStatistics(1.0, cpu_s, 2, tuple(stages))


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (
            statistics(decode=0.97, infer=0.9),
            "decode is the bottleneck: its 1 worker was busy 97% of the time; raise --decoders",
        ),
        (statistics(infer=0.9), "infer is the bottleneck: its 1 worker was busy 90% of the time; raise --instances, "),
        (statistics(input=0.9, cpu_s=2.0), "input is the bottleneck: it was busy 90% of the time; images come no fa"),
        (statistics(output=0.9), "output is the bottleneck: it was busy 90% of the time; whoever takes the results"),
        (
            statistics(infer=0.9, cpu_s=1.9),
            "infer is the bottleneck: its 1 worker was busy 90% of the time; the 2 CPUs had 95% of theirs taken: "
            "more workers would not help",
        ),
        (
            statistics(infer=0.6, decode=0.5),
            "no stage is the bottleneck: infer was busiest, 60% of the time; too few images",
        ),
        (
            statistics(infer=0.6, cpu_s=1.9),
            "no stage is the bottleneck: infer was busiest, 60% of the time; the 2 CPU",
        ),
    ],
)
def test_sentence_names_the_bottleneck_and_what_to_change(measured, said):
    assert sentence(measured).startswith(said)


def test_sentence_tells_workers_apart_and_says_when_nothing_was_measured():
    measured = statistics(infer=0.9)
    stages = [replace(stage, workers=3) for stage in measured.stages]
    assert "its 3 workers were busy 90% of the time" in sentence(replace(measured, stages=tuple(stages)))
    stages = [replace(stage, images=0) for stage in measured.stages]
    assert sentence(replace(measured, stages=tuple(stages))) == "nothing was measured: there was no image"


@pytest.mark.parametrize("more", [(), ("--isolate", "--draw"), ("--instances", 2, "--decoders", 3)])
def test_table_is_printed_and_figures_are_written(run, photos, tmp_path, more):
    (photos / "images" / "broken.jpg").write_bytes(b"no image")
    code, out, error = run("--stats", "--stats_json", tmp_path / "new" / "stats.json", *more)
    assert (code, out.split(", ")[0]) == (1, "6 images")
    figures = json.loads((tmp_path / "new" / "stats.json").read_text())
    stages = {stage["name"]: stage for stage in figures["stages"]}
    assert list(stages) == ["input", "decode", "preprocess", "infer", "to source", "write", "output"]
    assert {stage["images"] for stage in stages.values()} == {7}
    assert [stage["failed"] for stage in stages.values()] == [0, 1, 0, 0, 0, 0, 0]
    expected = (3, 2) if "--decoders" in more else (available_cores(),) * 2
    assert (stages["decode"]["workers"], stages["infer"]["workers"]) == expected
    lines = error.splitlines()
    assert lines[0].startswith("stage ")
    assert [line.split("  ")[0] for line in lines[1:8]] == list(stages)
    assert " the bottleneck: " in lines[9]
    assert lines[10] == "1 of 7 failed:"


def test_figures_alone_are_written_without_a_word(run, tmp_path):
    code, _, error = run("--stats_json", tmp_path / "stats.json")
    assert (code, error) == (0, "")
    assert json.loads((tmp_path / "stats.json").read_text())["stages"][0]["images"] == 6


def test_results_are_the_same_with_and_without(run, tmp_path):
    run(save_dir=tmp_path / "without")
    run("--stats", save_dir=tmp_path / "with")
    files = sorted(path.relative_to(tmp_path / "with") for path in (tmp_path / "with").rglob("*.txt"))
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "with" / file).read_bytes() == (tmp_path / "without" / file).read_bytes()


def test_resumed_run_that_has_nothing_to_do_says_so(run):
    run()
    _, _, error = run("--resume", "--stats")
    assert error.splitlines()[-1] == "nothing was measured: there was no image"


def test_file_that_cannot_be_written_is_one_sentence(run, command, tmp_path):
    code, _, error = run("--stats_json", tmp_path, how=command)
    assert code == 2
    assert error == f"facedeploy run: error: {tmp_path}: cannot be written (Is a directory)\n"


@pytest.mark.parametrize("source", ["--stdin", "--video"])
@pytest.mark.parametrize("kind", ["jsonl", "raw"])
def test_frames_have_statistics_too(command, tiny_artifact, tmp_path, monkeypatch, source, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 64, 80, 3), np.uint8)
    words = ("run", "--model_prefix_path", tiny_artifact.prefix, "--output", tmp_path / "out", "--format", kind)
    stats = ("--stats", "--stats_json", tmp_path / "stats.json")
    if source == "--video":
        writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (80, 64))
        for frame in pixels:
            writer.write(frame)
        writer.release()
        code, _, error = command(*words, "--video", tmp_path / "v.avi", *stats)
    else:
        (tmp_path / "frames.bgr").write_bytes(pixels.tobytes())
        with (tmp_path / "frames.bgr").open() as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            code, _, error = command(*words, "--stdin", "80x64", *stats)
    assert code == 0
    assert error.splitlines()[0].startswith("5 frames, ")
    assert error.splitlines()[1].startswith("stage ")
    stages = json.loads((tmp_path / "stats.json").read_text())["stages"]
    assert {stage["images"] for stage in stages} == {5}
    assert ADVICE.keys() >= {stage["name"] for stage in stages}
    assert ("annotate" in [stage["name"] for stage in stages]) == (kind == "raw")
