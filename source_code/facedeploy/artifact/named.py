"""Names of detectors, and where the artifact of a name lies."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from facedeploy.artifact.store import MANIFEST, STEM
from facedeploy.core.errors import ArtifactError, ConfigError

Precision = Literal["fp32", "fp16"]

FOLDER_VARIABLE = "FACEDEPLOY_ARTIFACTS"
DEFAULT_FOLDER = "deploy_weights"  # Under the current folder: workspace.path of the shipped configs.

# Face detectors without a shipped config for fp16, and the name of that for fp32 without `_fp32`.
_OF_FLOAT = (
    "mobilenet0.25_FD1MB",
    "slim",
    "RFB",
    "lightDSFD",
    "DSFD",
    "insightface_mnet.25",
    "insightface_mnet25_caffe",
    "faster_mobile_16",
    "faster_mobile_16and32",
    "faster_mobile_8and16",
    "yunet",
)
# What the shipped configs of each call it. RetinaNet... and DSFDDetector is what the package face_detection calls them.
_NETS = {
    "mobilenet0.25": "mobilenet0.25",
    "Resnet50": "resnet50",
    "RetinaNetMobileNetV1": "mobilenet0.25",
    "RetinaNetResNet50": "resnet50",
    "DSFDDetector": "DSFD",
    **{net: net for net in _OF_FLOAT},
}
_SAME = {"mobilenet0.25_fp32": "official_retinaface_fp32"}  # Shipped configs that differ in nothing but the name.

available_detectors = tuple(_NETS)


def find_artifact(name_or_prefix: str | Path, precision: Precision = "fp32") -> Path:
    """The prefix `.../mod` that is meant; nothing is opened.

    A Path, or a text with a `/`, is a prefix (or the folder of one) and returned as it is. A name of
    `available_detectors` is the artifact that the shipped config of that net and `precision` makes; any other name is
    that of an artifact's folder. Both are looked for in the folder that the environment variable FACEDEPLOY_ARTIFACTS
    names, else in `deploy_weights` under the current folder. Raises ArtifactError that says where it looked and which
    command makes it, ConfigError for what is neither text nor path.
    """
    if isinstance(name_or_prefix, Path):
        return name_or_prefix
    if not isinstance(name_or_prefix, str) or not name_or_prefix:
        raise ConfigError(
            f"name_or_prefix: got {name_or_prefix!r}, expected a name ({', '.join(available_detectors)}) "
            "or the prefix of an artifact (.../mod)"
        )
    if "/" in name_or_prefix:
        return Path(name_or_prefix)
    folder = Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)
    config = f"{_NETS[name_or_prefix]}_{precision}" if name_or_prefix in _NETS else None
    candidates = [folder / name for name in (config or name_or_prefix, _SAME.get(config or "")) if name]
    for candidate in candidates:
        if (candidate / MANIFEST).is_file():
            return candidate / STEM
    looked = " and ".join(str(candidate.absolute() / MANIFEST) for candidate in candidates)
    if config is None:
        near = get_close_matches(name_or_prefix, available_detectors, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ArtifactError(
            f"{name_or_prefix!r} is no detector ({', '.join(available_detectors)}) and no artifact's folder: "
            f"there is no {looked}{hint}"
        )
    net, command = _NETS[name_or_prefix], f"build_in/build/{config}.yaml"
    if net in _OF_FLOAT and precision != "fp32":
        command = f"build_in/build/{net}_fp32.yaml --set backend.dtype={precision} --set name={config}"
    elsewhere = f" --set workspace.path={folder}" if FOLDER_VARIABLE in os.environ else ""
    raise ArtifactError(
        f"{name_or_prefix} in {precision}: there is no {looked}; make it with "
        f"`vamc compile {command}{elsewhere}`, or set {FOLDER_VARIABLE} to the folder that has it"
    )
