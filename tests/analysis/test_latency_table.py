"""The table of latencies: its Markdown and JSON, and the published figures."""

from dataclasses import replace

import pytest

from facedeploy.analysis.latency_table import Cell, LatencyTable
from facedeploy.analysis.published import PUBLISHED, published_at
from facedeploy.core.cpu import cpu_name

SIZES = ((640, 480), (100, 90))


@pytest.fixture
def table():
    cells = {
        (SIZES[0], "a fp32"): Cell(8.0, 10.0, True),
        (SIZES[0], "b int8"): Cell(4.0, 5.0, True),
        (SIZES[1], "a fp32"): Cell(0.5, 0.8, True),
        (SIZES[1], "b int8"): Cell(0.25, 0.4, False),
    }
    return LatencyTable("A CPU", 2, 50, "2026-01-02", SIZES, ("a fp32", "b int8"), cells, published_at(list(SIZES)))


def test_markdown_has_a_row_for_each_size_and_a_column_for_each_detector(table):
    lines = table.lines()
    assert lines[:6] == [
        "Model call, ms (images/s):",
        "",
        "| width x height | a fp32 | b int8 |",
        "| --- | ---: | ---: |",
        "| 640x480 | 8.00 (125.0) | 4.00 (250.0) |",
        "| 100x90 | 0.50 (2000.0) | 0.25 (4000.0)* |",
    ]
    assert lines[7].startswith("Preprocessing, model and post-processing")
    assert lines[11:13] == ["| 640x480 | 10.00 (100.0) | 5.00 (200.0) |", "| 100x90 | 0.80 (1250.0) | 0.40 (2500.0)* |"]
    assert lines[14] == table.caption()
    assert lines[16].startswith("* The warm-up never became steady")
    tables = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in tables[:4]}) == len({line.count("|") for line in tables[8:]}) == 1


def test_caption_says_how_it_was_measured(table):
    for part in ("A CPU, 2 threads, ", "medians of 50 calls", "calls by 5", "3 in succession agree within 5%",
                 "2026-01-02", "width x height"):  # fmt: skip
        assert part in table.caption()
    assert cpu_name()


def test_published_figures_stand_beside_for_the_same_sizes_alone(table):
    lines = table.lines()
    start = lines.index("Published by others, ms, on other hardware:")
    assert lines[start + 2] == "| detector | hardware | runtime | covers | 640x480 |"
    assert "| LFFD v2 | NVIDIA Jetson Nano | TensorRT 5.1 | model | 77.56 |" in lines
    assert lines[-1].startswith("Sources: github.com/YonghaoHe/")
    assert published_at([(100, 90)]) == ()


def test_json_has_every_figure(table):
    data = table.to_json()
    assert {key: data[key] for key in ("cpu", "threads", "iterations", "date")} == {
        "cpu": "A CPU", "threads": 2, "iterations": 50, "date": "2026-01-02",
    }  # fmt: skip
    assert data["latencies"][0] == {
        "size_wh": (640, 480), "detector": "a fp32", "model_ms": 8.0, "whole_ms": 10.0, "steady": True,
        "images_per_second": 100.0,
    }  # fmt: skip
    assert len(data["latencies"]) == 4
    assert len(data["published"]) == len(published_at(list(SIZES)))


def test_published_figures_grow_with_the_size_and_name_their_source():
    assert len({(each.detector, each.hardware, each.runtime) for each in PUBLISHED}) == len(PUBLISHED)
    for each in PUBLISHED:
        assert each.source.startswith("github.com/")
        ordered = [each.milliseconds[size] for size in sorted(each.milliseconds, key=lambda size: size[0] * size[1])]
        assert ordered
        if "clancylian" not in each.source:  # Its Caffe takes longer for the smaller image.
            assert ordered == sorted(ordered), each


@pytest.fixture
def partial(table):
    """The table without `b int8` at the first size."""
    cells = {key: cell for key, cell in table.cells.items() if key != (SIZES[0], "b int8")}
    return replace(table, cells=cells, failures={(SIZES[0], "b int8"): "why"})


def test_what_failed_is_a_dash_and_null_with_the_reason(partial):
    lines = partial.lines()
    assert lines[4] == "| 640x480 | 8.00 (125.0) | - |"
    assert lines[11] == "| 640x480 | 10.00 (100.0) | - |"
    latencies = partial.to_json()["latencies"]
    assert [(each["size_wh"], each["detector"]) for each in latencies] == [
        (size, title) for title in partial.titles for size in SIZES
    ]
    assert latencies[2] == {
        "size_wh": SIZES[0], "detector": "b int8", "model_ms": None, "whole_ms": None, "steady": None,
        "images_per_second": None, "reason": "why",
    }  # fmt: skip
    assert not any("reason" in each for each in latencies if each["model_ms"])


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot_is_written(table, partial, tmp_path, suffix):
    pytest.importorskip("matplotlib", reason="plots need matplotlib (extra eval)")
    partial.plot(tmp_path / f"partial.{suffix}")
    assert (tmp_path / f"partial.{suffix}").stat().st_size > 1000
    table.plot(tmp_path / f"latency.{suffix}")
    assert (tmp_path / f"latency.{suffix}").stat().st_size > 1000
