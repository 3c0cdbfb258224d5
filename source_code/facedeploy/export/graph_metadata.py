"""What an exported file says about itself."""

import json
from dataclasses import asdict

from facedeploy.export.weights import Weights
from facedeploy.models.specs import ModelSpec

PREFIX = "facedeploy."


def graph_metadata(spec: ModelSpec, weights: Weights) -> dict[str, str]:
    """Key to text: model, priors (JSON), normalization (JSON), and where the weights are from, without any path."""
    values = {
        "model": spec.name,
        "priors": json.dumps(asdict(spec.priors)),
        "normalization": json.dumps(asdict(spec.normalization)),
        "weights_sha256": weights.sha256 or weights.source,
    }
    return {PREFIX + key: value for key, value in values.items()}
