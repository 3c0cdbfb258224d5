"""A small net whose files MXNet 1.9.1 wrote, and what it computed: see tests/reference/mxnet_golden.py."""

from pathlib import Path

import numpy as np
from small_symbol import check_outputs

from facedeploy.importers.mxnet.import_mxnet import import_mxnet


def test_import_computes_what_mxnet_computed(repository: Path) -> None:
    folder = repository / "tests/importers/mxnet/golden"
    with np.load(folder / "net-outputs.npz") as golden:
        expected = dict(golden)
    image = expected.pop("data")
    assert len(expected) > 40
    check_outputs(import_mxnet(folder / "net-symbol.json", folder / "net-0000.params", image.shape), expected, image)
