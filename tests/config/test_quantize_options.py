"""`backend.quantize.ranges` stands for the images to calibrate with."""

from typing import Any

import pytest

from facedeploy.config.build_config import BuildConfig, notes
from facedeploy.config.validate import validate
from facedeploy.core.errors import ConfigError


def config(dtype: str = "int8", **quantize: Any) -> BuildConfig:
    frontend = {"type": "onnx", "checkpoint": "net.onnx", "shape": {"input": [1, 3, 32, 32]}}
    backend = {"dtype": dtype, "quantize": quantize}
    data = {"name": "m", "frontend": frontend, "backend": backend, "workspace": {"path": "out"}}
    return validate(BuildConfig, data, "it.yaml")


def test_ranges_of_a_file_need_no_images() -> None:
    found = config(ranges="net.table")
    assert found.backend.quantize is not None
    assert (found.backend.quantize.ranges, found.dataset) == ("net.table", None)
    assert notes(found) == (
        "backend.quantize.ranges: no images are run; calibrate_mode, dataset.path and sampler do nothing",
    )


def test_int8_without_ranges_needs_images() -> None:
    with pytest.raises(ConfigError, match=r"dataset: is missing, backend.dtype int8 needs it to calibrate"):
        config()


def test_ranges_do_not_go_with_the_search_that_runs_images() -> None:
    with pytest.raises(ConfigError, match=r"backend.quantize.max_drop: ranks layers on the images to calibrate with"):
        config(ranges="net.table", max_drop=0.5, evaluate={"images": "i", "ground_truth": "g"})
