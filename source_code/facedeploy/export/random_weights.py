"""Seeded random weights, for speed and numerics where no trained ones are at hand."""

import torch
from torch import nn

from facedeploy.core.errors import ConfigError
from facedeploy.export.weights import Weights
from facedeploy.models.layers import Factor, Predictor
from facedeploy.models.nets import new_net
from facedeploy.models.resnet import Bottleneck
from facedeploy.models.specs import ModelSpec

MAX_SEED = 2**63 - 1
PIXEL_VARIANCE = 74.0**2  # Of uniform noise in 0..255.
FACE_LOGIT = -7.0  # Most priors are background, as in a real net: non-maximum suppression has realistic work.


def random_weights(spec: ModelSpec, seed: int) -> Weights:
    """He's initialization (arXiv:1502.01852): activations stay near unit variance from pixels to heads.

    The same seed gives the same weights. Batch norms differ from the identity, so that folding them is exercised.
    Raises ConfigError for a seed that is out of range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"seed {seed}: expected 0..{MAX_SEED}")
    generator = torch.Generator().manual_seed(seed)
    net = new_net(spec).requires_grad_(False)
    norms = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.normal_(0.0, (2.0 / module.weight[0].numel()) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.9, 1.1, generator=generator)
            module.bias.normal_(0.0, 0.1, generator=generator)
            module.running_mean = torch.empty_like(module.bias).normal_(0.0, 0.1, generator=generator)
            module.running_var = torch.empty_like(module.bias).uniform_(0.9, 1.1, generator=generator)
            norms.append(module)
    norms[0].running_var = torch.full_like(norms[0].bias, 2.0 * PIXEL_VARIANCE)  # The stem's input is pixels.
    branches = sum(isinstance(module, Bottleneck) for module in net.modules())
    for module in net.modules():
        if isinstance(module, Bottleneck):
            module.bn3.weight.mul_(branches**-0.5)  # At full variance their sum would explode.
        elif isinstance(module, Factor):
            module.weight.mul_(0.5)  # No ReLU follows that would halve the variance, and products grow level by level.
        elif isinstance(module, Predictor) and module.bias is not None:
            module.weight.mul_(0.25)  # Boxes of sizes that the exponential of decoding leaves finite.
            if module.face is not None:
                module.bias[module.face] = FACE_LOGIT
    note = "random weights: speed and numerics mean something, accuracy is meaningless"
    return Weights(net.state_dict(), f"random, seed {seed}", None, (note,))
