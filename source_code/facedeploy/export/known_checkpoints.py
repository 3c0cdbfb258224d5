"""Published checkpoints by content: names and shapes do not identify a net, its file's hash does."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class KnownCheckpoint:
    """`model` is the detector's name in `artifact.named.DETECTORS`; `models.specs.MODELS` has those that are exported.

    Of the others, the file is that of the weights: MXNet's .params, a caffemodel, an ONNX.
    """

    title: str
    model: str


# What export refuses, and compile takes as it is, by the config `build_in/build/<model>_fp32.yaml`.
_COMPILED = {
    "051313a2e7e62e981aafcf0dd5cb16505eca4295c4d2f6f36749a173eda8413c": KnownCheckpoint(
        "InsightFace's RetinaFace mnet.25 (MXNet)", "insightface_mnet.25"
    ),
    "c9653e4e4fed9606c98b6ef6368b8b5bc10b7f7b5ea2420ceceb71d93b0bd846": KnownCheckpoint(
        "the conversion of InsightFace's mnet.25 to Caffe", "insightface_mnet25_caffe"
    ),
    "38515b3797f6cf484c5f8db4f4dc884b6a476eca69e72167ed9e6e161a7fb9ce": KnownCheckpoint(
        "the mnet.25 that was trained again with deconvolutions, in Caffe (mnet-deconv-0517)",
        "insightface_mnet25_caffe",
    ),
    "e8e7490d9fc87d94488bcbc8df33e56a69db1b3abdd946a087df0d490d4495c5": KnownCheckpoint(
        "the net 16 of faster-mobile-retinaface (MXNet)", "faster_mobile_16"
    ),
    "a0f8d021ab8684fd2c53e604432bbd2e46ae54097c3ac60977d6c44766239d24": KnownCheckpoint(
        "the net 16and32 of faster-mobile-retinaface (MXNet)", "faster_mobile_16and32"
    ),
    "22f8fcd21655060c6e18d3d124933a3a683c56af0f631ea6f64f8003836ac99a": KnownCheckpoint(
        "the net 8and16 of faster-mobile-retinaface (MXNet)", "faster_mobile_8and16"
    ),
    "88acc72732d6af37d7646e7bc9acb58feae14c48001cb021c41e926001886f24": KnownCheckpoint(
        "LFFD's head detector (MXNet, iteration 800000)", "lffd_head"
    ),
    "7e120f4798bf288ffedd9887a9e14fdc23b87d0d4a21b36a012891d3b8bf368d": KnownCheckpoint(
        "LFFD's licence plate detector (MXNet, iteration 1000000)", "lffd_plate"
    ),
    "51473877e98f46fad236beb3f1b3d8c658a13d293894405dec3c740ccec115c3": KnownCheckpoint(
        "LFFD's small licence plate detector (MXNet, iteration 1000000)", "lffd_plate"
    ),
    "25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31": KnownCheckpoint(
        "YuNet (ONNX, yunet_n_640_640)", "yunet"
    ),
}

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
        **_COMPILED,
    }
)
