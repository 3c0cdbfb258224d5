"""DSFD, the dual shot face detector (arXiv:1810.10220), upon ResNet152 (DSFD-Pytorch-Inference).

Attribute names are those of its checkpoint.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facedeploy.models.layers import Factor, Predictor, concat, per_prior, upsample_product
from facedeploy.models.resnet import layer
from facedeploy.models.specs import ModelSpec

CHANNELS = (256, 512, 1024, 2048, 512, 256)  # Of the features at strides 4 to 128.


class FEM(nn.Module):
    """Feature enhance module: 256, 128 and 128 channels that see more and more, by convolutions of dilation 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cpm1 = nn.Conv2d(channels, 256, 3, padding=1)
        self.cpm2 = nn.Conv2d(channels, 256, 3, padding=2, dilation=2)
        self.cpm3 = nn.Conv2d(256, 128, 3, padding=1)
        self.cpm4 = nn.Conv2d(256, 128, 3, padding=2, dilation=2)
        self.cpm5 = nn.Conv2d(128, 128, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, h, w) -> (N, 512, h, w)."""
        wider = F.relu(self.cpm2(x))
        widest = F.relu(self.cpm4(wider))
        return concat([F.relu(self.cpm1(x)), F.relu(self.cpm3(wider)), F.relu(self.cpm5(widest))])


class Head(nn.Module):
    """Three 3x3 and a 1x1. What it gives beyond `outputs` channels is for the anchors of training only."""

    def __init__(self, outputs: int, trained: int, face: slice | None = None) -> None:
        super().__init__()
        self.outputs = outputs
        self.conv1 = nn.Conv2d(512, 256, 3, padding=1)
        self.conv2, self.conv3 = (nn.Conv2d(256, 256, 3, padding=1) for _ in range(2))
        self.conv4 = Predictor(256, outputs + trained, face=face)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 512, h, w) -> (N, outputs, h, w)."""
        y = F.relu(self.conv3(F.relu(self.conv2(F.relu(self.conv1(x))))))
        logits: Tensor = self.conv4(y)
        return logits[:, : self.outputs]


def max_in_out(logits: Tensor, finest: bool) -> Tensor:
    """(N, 4, h, w) -> (N, 2, h, w), background and face.

    At the finest level three channels are backgrounds, of which the greatest counts, and the last is the face; at the
    others the first three are faces and the last is the background.
    """
    most = torch.amax(logits[:, :3], dim=1, keepdim=True)
    other = logits[:, 3:]
    return concat([most, other] if finest else [other, most])


class DSFD(nn.Module):
    """(N, 3, H, W) pixels minus mean -> loc (N, P, 4), conf (N, P, 2) after softmax."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        stem = (nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.layer1 = nn.Sequential(*stem, layer(64, 64, 3, 1))
        self.layer2 = nn.Sequential(layer(256, 128, 8, 2))
        self.layer3 = nn.Sequential(layer(512, 256, 36, 2))
        self.layer4 = nn.Sequential(layer(1024, 512, 3, 2))
        self.layer5 = _shrinking(2048, 512, 512)
        self.layer6 = _shrinking(512, 128, 256)
        self.latlayer3, self.latlayer2, self.latlayer1 = (
            Factor(above, channels) for channels, above in ((1024, 2048), (512, 1024), (256, 512))
        )
        self.smooth3, self.smooth2, self.smooth1 = (Factor(channels, channels) for channels in (1024, 512, 256))
        self.cpm3_3, self.cpm4_3, self.cpm5_3, self.cpm7, self.cpm6_2, self.cpm7_2 = map(FEM, CHANNELS)
        further = (0, 1, 2, 2, 2, 2)  # Anchors a cell of each level that training has, and detecting has not.
        faces = (slice(3, 4), *[slice(0, 3)] * 5)
        self.loc = nn.ModuleList(Head(4, 4 * count) for count in further)
        self.conf = nn.ModuleList(Head(4, 2 * count, face) for count, face in zip(further, faces, strict=True))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded boxes, probabilities of background and face."""
        modules = (self.cpm3_3, self.cpm4_3, self.cpm5_3, self.cpm7, self.cpm6_2, self.cpm7_2)
        contexts = [module(level) for module, level in zip(modules, self._pyramid(x), strict=True)]
        loc = concat([per_prior(head(context), 4) for head, context in zip(self.loc, contexts, strict=True)])
        conf = concat(
            [
                per_prior(max_in_out(head(context), finest=level == 0), 2)
                for level, (head, context) in enumerate(zip(self.conf, contexts, strict=True))
            ]
        )
        return loc, F.softmax(conf, dim=-1)

    def _pyramid(self, x: Tensor) -> list[Tensor]:
        """Features of `CHANNELS`; the finest three are multiplied by what is above them."""
        levels: list[Tensor] = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4, self.layer5, self.layer6):
            levels.append(stage(levels[-1] if levels else x))
        levels[2] = upsample_product(self.latlayer3(levels[3]), self.smooth3(levels[2]))
        levels[1] = upsample_product(self.latlayer2(levels[2]), self.smooth2(levels[1]))
        levels[0] = upsample_product(self.latlayer1(levels[1]), self.smooth1(levels[0]))
        return levels


def _shrinking(in_channels: int, width: int, out_channels: int) -> nn.Sequential:
    """1x1 to `width` channels, 3x3 of stride 2 to `out_channels`, each with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, out_channels, 3, 2, 1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
