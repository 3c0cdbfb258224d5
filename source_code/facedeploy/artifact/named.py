"""Names of detectors, and where the artifact of a name lies."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from facedeploy.artifact.store import MANIFEST, STEM
from facedeploy.config.shipped import BUILD, shipped_configs
from facedeploy.core.errors import ArtifactError, ConfigError

Precision = Literal["fp32", "fp16"]

FOLDER_VARIABLE = "FACEDEPLOY_ARTIFACTS"
DEFAULT_FOLDER = "deploy_weights"  # Under the current folder: workspace.path of the shipped configs.

# All detectors that have a shipped config, and what else their users call them: RetinaNet... and DSFDDetector is the
# package face_detection's, FaceDetectorYN OpenCV's; mnet.25, mnet25 and ..._8scales_v1 are files of the nets' authors.
DETECTORS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mobilenet0.25": ("RetinaNetMobileNetV1",),
        "mobilenet0.25_relu": (),
        "Resnet50": ("RetinaNetResNet50",),
        "mobilenet0.25_FD1MB": (),
        "slim": (),
        "RFB": (),
        "lightDSFD": (),
        "DSFD": ("DSFDDetector",),
        "insightface_mnet.25": ("mnet.25",),
        "insightface_mnet25_caffe": ("mnet25",),
        "faster_mobile_16": (),
        "faster_mobile_16and32": (),
        "faster_mobile_8and16": (),
        "lffd_face_v1": ("LFFD", "LFFD_v1", "10_560_25L_8scales_v1"),
        "lffd_face_v2": ("LFFD_v2", "10_320_20L_5scales_v2"),
        "lffd_head": ("10_160_17L_4scales_v1",),
        "lffd_plate": ("64_512_16L_3scales_v1",),
        "yunet": ("YuNet", "FaceDetectorYN"),
    }
)
_BY_NAME = {name: detector for detector, also in DETECTORS.items() for name in (detector, *also)}
_SAME = {"mobilenet0.25_fp32": "official_retinaface_fp32"}  # Shipped configs that differ in nothing but the name.

available_detectors = tuple(_BY_NAME)


def shipped_config(detector: str, precision: str = "fp32") -> str:
    """The documented name of the build config of one of DETECTORS, `build_in/build/x_fp32.yaml`; there may be none."""
    stem = "resnet50" if detector == "Resnet50" else detector
    return f"build_in/build/{stem}_{precision}.yaml"


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
    detector = _BY_NAME.get(name_or_prefix)
    config = Path(shipped_config(detector, precision)).stem if detector else None
    candidates = [folder / name for name in (config or name_or_prefix, _SAME.get(config or "")) if name]
    for candidate in candidates:
        if (candidate / MANIFEST).is_file():
            return candidate / STEM
    looked = " and ".join(str(candidate.absolute() / MANIFEST) for candidate in candidates)
    if detector is None:
        near = get_close_matches(name_or_prefix, available_detectors, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ArtifactError(
            f"{name_or_prefix!r} is no detector ({', '.join(available_detectors)}) and no artifact's folder: "
            f"there is no {looked}{hint}"
        )
    command = shipped_config(detector, precision)
    if command not in shipped_configs(BUILD):
        command = f"{shipped_config(detector)} --set backend.dtype={precision} --set name={config}"
    elsewhere = f" --set workspace.path={folder}" if FOLDER_VARIABLE in os.environ else ""
    raise ArtifactError(
        f"{name_or_prefix} in {precision}: there is no {looked}; make it with "
        f"`vamc compile {command}{elsewhere}`, or set {FOLDER_VARIABLE} to the folder that has it"
    )
