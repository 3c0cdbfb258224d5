import subprocess
import sys

import numpy as np
import pytest

from facedeploy.core.errors import ImageError
from facedeploy.image.decode import decode_image, read_image
from facedeploy.image.opencv import cv2

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


def encoded(suffix, pixels=PIXELS):
    return cv2.imencode(suffix, pixels)[1].tobytes()


def with_segment(jpeg, marker, content):
    """Put a segment behind the start of a JPEG."""
    return jpeg[:2] + bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content + jpeg[2:]


def test_read_image_gives_bgr_when_the_name_is_not_ascii(tmp_path):
    path = tmp_path / "été 顔.png"
    path.write_bytes(encoded(".png"))
    np.testing.assert_array_equal(read_image(path), PIXELS)
    np.testing.assert_array_equal(read_image(str(path)), PIXELS)


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 4)])
def test_read_image_gives_three_channels_from_gray_and_from_transparent(tmp_path, shape):
    pixels = np.full(shape, 77, np.uint8)
    (tmp_path / "x.png").write_bytes(encoded(".png", pixels))
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), np.full((40, 30, 3), 77))


def test_read_image_turns_the_image_as_exif_says():
    tiff = b"MM\0*\0\0\0\x08" + b"\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + b"\0\0\0\0"  # Orientation 6.
    jpeg = encoded(".jpg")
    turned = decode_image(with_segment(jpeg, 0xE1, b"Exif\0\0" + tiff))
    np.testing.assert_array_equal(turned, np.rot90(decode_image(jpeg), -1))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello, I am text", "is no image that OpenCV can decode"),
        (encoded(".jpg")[:-1], "is cut short"),
        (encoded(".jpg")[:300], "is cut short"),
        (encoded(".jpg")[:2], "is cut short"),
        (
            with_segment(encoded(".jpg"), 0xE2, encoded(".jpg"))[:-50],
            "is cut short",
        ),  # A thumbnail ends, the image not.
        (encoded(".png")[:-20], "cut short"),
    ],
)
def test_read_image_names_file_and_reason_when_it_cannot_be_read(tmp_path, content, reason):
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)


def test_read_image_names_the_file_when_it_is_missing_or_a_folder(tmp_path):
    with pytest.raises(ImageError, match=r"no\.jpg: cannot be read: No such file"):
        read_image(tmp_path / "no.jpg")
    with pytest.raises(ImageError, match="cannot be read: Is a directory"):
        read_image(tmp_path)


def test_decode_image_takes_a_whole_jpeg_with_a_thumbnail_and_bytes_behind_it():
    jpeg = encoded(".jpg")
    whole = with_segment(jpeg, 0xE2, jpeg) + b"\xff\xda behind the end"
    np.testing.assert_array_equal(decode_image(whole), decode_image(jpeg))


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("ImportError('libGL.so.1: cannot open shared object file')", "apt-get install libgl1 libglib2.0-0"),
        ("ModuleNotFoundError(name='cv2')", "it is not installed: pip install opencv-python-headless"),
    ],
)
def test_opencv_is_one_sentence_when_it_does_not_import(tmp_path, error, advice):
    (tmp_path / "cv2.py").write_text(f"raise {error}")
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from facedeploy.core.errors import DependencyError
try:
    import facedeploy.image.decode
except DependencyError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("images need OpenCV, and it ")
    assert advice in run.stdout
