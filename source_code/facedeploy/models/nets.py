"""The table of nets: which module each family of `specs` is."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from facedeploy.models.dsfd import DSFD
from facedeploy.models.light_dsfd import LightDSFD
from facedeploy.models.retinaface import RetinaFace
from facedeploy.models.slim import Slim
from facedeploy.models.specs import ModelSpec, Net

_NETS: Mapping[Net, Callable[[ModelSpec], nn.Module]] = MappingProxyType(
    {"RetinaFace": RetinaFace, "Slim": Slim, "LightDSFD": LightDSFD, "DSFD": DSFD}
)


def new_net(spec: ModelSpec) -> nn.Module:
    """The net, with PyTorch's default weights until others are loaded.

    It makes of (N, 3, H, W), normalized pixels, a tuple of `spec.outputs`: encoded boxes loc (N, P, 4), probabilities
    of background and face conf (N, P, 2) and, where it has landmarks, landms (N, P, 10) encoded. P is
    `spec.priors.count((H, W))`; H and W are any, from 1 px.
    """
    return _NETS[spec.net](spec)
