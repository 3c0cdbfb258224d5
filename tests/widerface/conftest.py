"""A WIDER-form set of three images, and prediction files for it."""

import pytest

from facedeploy.widerface.ground_truth import write_ground_truth

PREDICTIONS = {
    "0--Parade/a": "0--Parade/a\n3\n0 0 10 10 0.9\n40 40 5 5 0.8\n20 20 10 10 0.3\n",
    "0--Parade/b": "0--Parade/b\n0\n",
    "1--Handshaking/c": "1--Handshaking/c\n1\n5 5 20 20 0.6\n",
}


@pytest.fixture
def ground_truth(tmp_path):
    """Faces that count: a: both (hard), the first (easy, medium); b: one (hard); c: one (all)."""
    folder = tmp_path / "ground_truth"
    write_ground_truth(
        folder,
        {
            "0--Parade/a": [[0, 0, 10, 10], [20, 20, 10, 10]],
            "0--Parade/b": [[1, 1, 4, 4]],
            "1--Handshaking/c": [[5, 5, 20, 20]],
        },
        easy={"0--Parade/a": [0], "1--Handshaking/c": [0]},
        medium={"0--Parade/a": [0], "1--Handshaking/c": [0]},
        hard={"0--Parade/a": [0, 1], "0--Parade/b": [0], "1--Handshaking/c": [0]},
    )
    return folder


@pytest.fixture
def predictions(tmp_path):
    folder = tmp_path / "predictions"
    for name, text in PREDICTIONS.items():
        path = folder / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
