import pytest
import torch

from facedeploy.export.parity import noise_pixels, run_eager
from facedeploy.export.random_weights import random_weights
from facedeploy.export.weights import build_net
from facedeploy.models.specs import MODELS


@pytest.mark.parametrize("name", MODELS)
def test_random_weights_keep_outputs_in_a_sane_range(name: str) -> None:
    spec = MODELS[name]
    weights = random_weights(spec, 7)
    loc, conf, *landms = run_eager(build_net(spec, weights), noise_pixels(spec, (1, 3, 96, 96)))
    assert all(0.01 < encoded.std() < 5 for encoded in (loc, *landms))
    assert 0 < conf[..., 1].mean() < 0.1
    assert "accuracy is meaningless" in weights.notes[0]
    assert weights.sha256 is None


@pytest.mark.parametrize("name", ["mobilenet0.25", "slim"])
def test_random_weights_are_those_of_the_seed(name: str) -> None:
    spec = MODELS[name]
    first, again, other = (random_weights(spec, seed).state for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith("0.weight"))
