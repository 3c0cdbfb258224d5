"""Latencies that others have published for their detectors, as their repositories' READMEs say them."""

from dataclasses import dataclass

Size = tuple[int, int]  # Width and height, px.


@dataclass(frozen=True)
class Published:
    """`milliseconds` of one image by the size of the input, what `covers` says, on `hardware` with `runtime`."""

    detector: str
    hardware: str
    runtime: str
    covers: str
    source: str
    milliseconds: dict[Size, float]


_LFFD = "github.com/YonghaoHe/LFFD-A-Light-and-Fast-Face-Detector-for-Edge-Devices"
_LFFD_FACE = f"{_LFFD}/face_detection"
_MODEL = "model"  # LFFD says: inference only, with the transfer of data on NVIDIA's hardware.
_TENSORRT, _MXNET = "TensorRT 5.1", "MXNet, cuDNN 7.4"
_RTX_2080, _GTX_1060 = "NVIDIA RTX 2080 Ti", "NVIDIA GTX 1060 (laptop)"
_NANO, _TX2 = "NVIDIA Jetson Nano", "NVIDIA Jetson TX2"

_TINY, _QVGA, _VGA, _HD = (160, 140), (320, 240), (640, 480), (1280, 720)
_FULL_HD, _4K, _8K = (1920, 1080), (3840, 2160), (7680, 4320)
_TO_HD = (_TINY, _QVGA, _VGA, _HD)
_TO_FULL_HD = (*_TO_HD, _FULL_HD)
_FROM_QVGA = (_QVGA, _VGA, _HD, _FULL_HD, _4K, _8K)
_FROM_VGA = _FROM_QVGA[1:]
_PAPER_EDGE = ((160, 120), _QVGA, _VGA)


def _row(
    detector: str, hardware: str, runtime: str, source: str, sizes: tuple[Size, ...], *milliseconds: float
) -> Published:
    figures = dict(zip(sizes[: len(milliseconds)], milliseconds, strict=True))
    return Published(detector, hardware, runtime, _MODEL, source, figures)


def _clancylian(runtime: str, milliseconds: dict[Size, float]) -> Published:
    # The order of the sides is not said, and written here as there.
    source = "github.com/clancylian/retinaface"
    return Published("RetinaFace mobilenet0.25", "NVIDIA GTX 1080 Ti", runtime, _MODEL, source, milliseconds)


def _scales(detector: str, *milliseconds: float) -> Published:
    # Scales 0.1, 0.4, 1 and 2 of VGA.
    sizes = ((64, 48), (256, 192), _VGA, (1280, 960))
    source = "github.com/1996scarlet/faster-mobile-retinaface"
    figures = dict(zip(sizes, milliseconds, strict=True))
    return Published(detector, "NVIDIA GTX 1660 Ti", "MXNet, CUDA 10.2", "not said", source, figures)


def _forward(detector: str, hardware: str, milliseconds: float) -> Published:
    source = "github.com/hukkelas/DSFD-Pytorch-Inference"
    return Published(detector, hardware, "PyTorch", "forward pass", source, {(1024, 687): milliseconds})


# A figure of which the source has two readings is left out.
PUBLISHED = (
    _row("LFFD v1", _NANO, _TENSORRT, _LFFD_FACE, _TO_HD, 12.94, 33.66, 113.88, 326.91),
    _row("LFFD v2", _NANO, _TENSORRT, _LFFD_FACE, _TO_HD, 10.48, 23.28, 77.56, 222.30),
    _row("LFFD v1", _TX2, _TENSORRT, _LFFD_FACE, _TO_FULL_HD, 6.12, 13.50, 46.65, 131.38, 291.24),
    _row("LFFD v2", _TX2, _TENSORRT, _LFFD_FACE, _TO_FULL_HD, 4.40, 9.15, 31.46, 89.22, 198.79),
    _row("LFFD v1", _RTX_2080, _TENSORRT, _LFFD_FACE, _FROM_QVGA, 1.33, 2.85, 6.97, 15.10, 59.91, 233.19),
    _row("LFFD v2", _RTX_2080, _TENSORRT, _LFFD_FACE, _FROM_QVGA, 1.06, 2.12, 5.02, 10.80, 42.41, 167.25),
    _row("LFFD v1", _GTX_1060, _TENSORRT, _LFFD_FACE, _FROM_QVGA, 2.54, 7.28, 20.13, 44.76, 176.54),
    _row("LFFD v2", _GTX_1060, _TENSORRT, _LFFD_FACE, _FROM_QVGA, 1.84, 5.06, 13.97, 30.47, 121.53),
    _row("LFFD v1", _RTX_2080, _MXNET, _LFFD_FACE, _FROM_VGA, 7.24, 14.58, 28.36, 100.18, 380.62),
    _row("LFFD v2", _RTX_2080, _MXNET, _LFFD_FACE, _FROM_VGA, 5.04, 9.79, 18.17, 65.86, 245.16),
    _row("RetinaFace mobilenet0.25", _RTX_2080, _MXNET, _LFFD_FACE, _FROM_VGA, 5.40, 6.31, 10.26, 29.29, 118.42),
    _row("LFFD v1", _GTX_1060, _MXNET, _LFFD_FACE, _FROM_VGA, 16.47, 45.43, 100.23, 399.50),
    _row("LFFD v2", _GTX_1060, _MXNET, _LFFD_FACE, _FROM_VGA, 10.99, 29.45, 63.64, 253.89),
    _row("RetinaFace mobilenet0.25", _GTX_1060, _MXNET, _LFFD_FACE, _FROM_VGA, 4.90, 10.85, 22.44),
    _row("LFFD v1", "NVIDIA TITAN Xp", "MXNet, cuDNN 7.1", _LFFD, _FROM_VGA, 7.60, 16.37, 31.27, 87.79),
    _row("LFFD v1", _TX2, "MXNet, cuDNN 7.1", _LFFD, _PAPER_EDGE, 7.30, 19.64, 64.70),
    _row("LFFD v1", "Raspberry Pi 3 Model B+", "ncnn", _LFFD, _PAPER_EDGE, 118.45, 409.19, 4114.15),
    _row("LFFD head v1", _RTX_2080, _TENSORRT, f"{_LFFD}/head_detection", _FROM_QVGA,
         0.83, 1.91, 4.83, 10.62, 42.28, 166.81),
    _row("LFFD head v1", _GTX_1060, _TENSORRT, f"{_LFFD}/head_detection", _FROM_QVGA, 1.62, 4.83, 13.67, 30.01, 121.15),
    _row("LFFD license plate v1", _RTX_2080, _TENSORRT, f"{_LFFD}/license_plate_detection", _FROM_QVGA,
         0.62, 1.02, 2.10, 4.21, 15.68, 62.82),
    _row("LFFD license plate v1", _GTX_1060, _TENSORRT, f"{_LFFD}/license_plate_detection", _FROM_QVGA,
         0.86, 1.83, 4.45, 9.68, 37.59),
    _scales("RetinaFace mobilenet0.25", 2.854, 3.481, 5.743, 22.351),
    _scales("faster-mobile-retinaface", 2.155, 2.916, 5.413, 20.599),
    # Its 0.1 at 320x416 is how long MXNet takes to return, before it has computed.
    _clancylian("MXNet", {(1280, 896): 8.0}),
    _clancylian("Caffe", {(1280, 896): 24.1, (320, 416): 27.0}),
    _clancylian("TensorRT", {(1280, 896): 5.4, (320, 416): 1.9, (448, 448): 2.3}),
    _forward("DSFD", "Intel i7 2.2 GHz", 17496),
    _forward("RetinaFace ResNet50", "Intel i7 2.2 GHz", 2970),
    _forward("RetinaFace mobilenet0.25", "Intel i7 2.2 GHz", 270),
    _forward("DSFD", "NVIDIA V100 32 GB", 100),
    _forward("DSFD", "NVIDIA GTX 1060 6 GB", 341),
    _forward("RetinaFace ResNet50", "NVIDIA GTX 1060 6 GB", 76.6),
    _forward("RetinaFace mobilenet0.25", "NVIDIA GTX 1060 6 GB", 48.2),
    _forward("DSFD", "NVIDIA T4 16 GB", 482),
    _forward("RetinaFace ResNet50", "NVIDIA T4 16 GB", 181),
    _forward("RetinaFace mobilenet0.25", "NVIDIA T4 16 GB", 178),
)  # fmt: skip


def published_at(sizes: list[Size]) -> tuple[Published, ...]:
    """Those that have a figure for any of the sizes."""
    return tuple(each for each in PUBLISHED if not each.milliseconds.keys().isdisjoint(sizes))
