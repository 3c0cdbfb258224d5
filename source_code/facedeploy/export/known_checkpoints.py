"""Published checkpoints by content: names and shapes do not identify a net, its file's hash does."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class KnownCheckpoint:
    """`model` is the name in `models.specs.MODELS`."""

    title: str
    model: str


_FACE_DETECTOR_1MB = "of Face-Detector-1MB-with-landmark"

KNOWN_CHECKPOINTS: Mapping[str, KnownCheckpoint] = MappingProxyType(
    {
        "2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220": KnownCheckpoint(
            "the official mobilenet0.25 of Pytorch_Retinaface (LeakyReLU 0.1)", "mobilenet0.25"
        ),
        "78b0533ceea681a290e98efca85e3a2815b22310f1fe7e287788e7f55f0743a9": KnownCheckpoint(
            "the first release (September 2019) of Pytorch_Retinaface's mobilenet0.25 (ReLU)", "mobilenet0.25_relu"
        ),
        "ed6fa7d45a5179f03cb5ce82c73b0c6711372968e53782e88395acee88d319e1": KnownCheckpoint(
            f"the RetinaFace mobilenet0.25 {_FACE_DETECTOR_1MB} (ReLU, min_sizes 10 20 32 64 128 256)",
            "mobilenet0.25_FD1MB",
        ),
        "76cdb587b2cf5f91b3836b66a652a0f7a91891758cd4fb0b07e4b7527af1c651": KnownCheckpoint(
            f"the slim net {_FACE_DETECTOR_1MB}", "slim"
        ),
        "b22c45855bff5c4eb84e9973e2ee8a980639aa194ec66f33a87ce712f9d44c28": KnownCheckpoint(
            f"the RFB net {_FACE_DETECTOR_1MB}", "RFB"
        ),
        "331f715b695ebd4c955713e51c32c7133595dbcedf982e39640bd8309b5404cd": KnownCheckpoint("lightDSFD", "lightDSFD"),
        "76ea889083f2dddaa87cbaf4cff6bb70e3e34c83fb0ab8de7b2df15eaf78caf1": KnownCheckpoint(
            "the DSFD of DSFD-Pytorch-Inference (WIDERFace_DSFD_RES152.pth)", "DSFD"
        ),
    }
)
