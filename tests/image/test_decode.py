import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

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


def with_orientation(jpeg, orientation):
    tiff = b"MM\0*\0\0\0\x08" + b"\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + b"\0\0\0\0\0\0"
    return with_segment(jpeg, 0xE1, b"Exif\0\0" + tiff)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda stored: stored),
        (2, np.fliplr),
        (3, lambda stored: np.rot90(stored, 2)),
        (4, np.flipud),
        (5, lambda stored: stored.transpose(1, 0, 2)),
        (6, lambda stored: np.rot90(stored, -1)),
        (7, lambda stored: np.rot90(stored, 2).transpose(1, 0, 2)),
        (8, np.rot90),
    ],
)
def test_read_image_turns_the_image_as_exif_says_unless_it_is_ignored(tmp_path, orientation, upright):
    jpeg = encoded(".jpg")
    (tmp_path / "x.jpg").write_bytes(with_orientation(jpeg, orientation))
    stored = decode_image(jpeg)
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg"), upright(stored))
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg", ignore_exif=True), stored)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp", ".jpg"])
@pytest.mark.parametrize("hw", [(1, 1), (1, 20000), (20000, 1)])
def test_read_image_takes_any_size(suffix, hw):
    if suffix == ".webp" and max(hw) > 16383:
        pytest.skip("WebP ends at 16383 px")
    image = decode_image(encoded(suffix, np.full((*hw, 3), 99, np.uint8)))
    np.testing.assert_allclose(image.astype(int), np.full((*hw, 3), 99), atol=2)


def test_read_image_takes_the_format_from_the_content_whatever_the_name(tmp_path):
    for content, name in ((".png", "x.jpg"), (".jpg", "x.png"), (".bmp", "x.webp")):
        (tmp_path / name).write_bytes(encoded(content))
        np.testing.assert_array_equal(read_image(tmp_path / name), decode_image(encoded(content)))
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg"), PIXELS)


def test_read_image_makes_eight_bits_of_sixteen():
    np.testing.assert_array_equal(decode_image(encoded(".png", PIXELS.astype(np.uint16) * 257)), PIXELS)
    np.testing.assert_array_equal(
        decode_image(encoded(".png", np.full((4, 3), 77 * 257, np.uint16))), np.full((4, 3, 3), 77)
    )


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_read_image_takes_jpegs_of_other_colors(mode):
    smooth = np.asarray(Image.linear_gradient("L").resize((64, 48)))
    image = Image.merge("RGB", [Image.fromarray(plane) for plane in (smooth, smooth[::-1], np.full_like(smooth, 90))])
    file = io.BytesIO()
    image.convert(mode).save(file, "JPEG", quality=100)
    expected = np.asarray(Image.open(file).convert("RGB"))[..., ::-1].astype(int)
    np.testing.assert_allclose(decode_image(file.getvalue()), expected, atol=4)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "I;16"])
def test_read_image_takes_pngs_of_any_kind(mode):
    values = np.where(PIXELS[..., 0] > 127, 255, 0).astype(np.uint8)
    gray, deep = Image.fromarray(values), Image.fromarray(values.astype(np.uint16) * 257)
    image = deep if mode == "I;16" else gray.convert(mode)
    file = io.BytesIO()
    image.save(file, "PNG")
    np.testing.assert_array_equal(decode_image(file.getvalue()), np.repeat(values[..., None], 3, axis=2))


@pytest.mark.parametrize(("form", "how"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})])
def test_read_image_gives_the_first_frame_of_an_animation(form, how):
    """Or refuses it, where this build of OpenCV does not know the format; never another frame."""
    frames = [Image.fromarray(np.full((20, 30, 3), value, np.uint8)) for value in (40, 130, 220)]
    file = io.BytesIO()
    frames[0].save(file, form, save_all=True, append_images=frames[1:], duration=40, **how)
    assert Image.open(io.BytesIO(file.getvalue())).n_frames == 3
    try:
        image = decode_image(file.getvalue())
    except ImageError as error:
        assert "is no image that OpenCV can decode" in str(error)
        assert tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 11)
    else:
        np.testing.assert_array_equal(image, np.full((20, 30, 3), 40))


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
    with pytest.raises(ImageError, match="cannot be read: embedded null byte"):
        read_image(tmp_path / "a\0b.jpg")


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


def test_pipe_and_device_are_no_files_and_reading_them_does_not_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "pipe.jpg")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.jpg", "link.jpg", "zero.png"):
        with pytest.raises(ImageError) as caught:
            read_image(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: is a pipe, a socket or a device, expected a file"
