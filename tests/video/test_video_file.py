"""Video files; OpenCV itself is the oracle of what is in one."""

import cv2
import numpy as np
import pytest

from facedeploy.core.errors import DataError
from facedeploy.video.video_file import CODECS, VideoFile, video_writer

HW = (48, 64)


def gray(number, hw=HW):
    """A frame whose brightness tells its number, whatever a codec does to it."""
    return np.full((*hw, 3), 20 + 20 * number, np.uint8)


@pytest.mark.parametrize("suffix", [*CODECS, ".AVI"])
def test_what_is_written_is_read_back(tmp_path, suffix):
    path = tmp_path / "new" / f"v{suffix}"
    with video_writer(path, 12.5) as writer:
        for number in range(10):
            writer.write(gray(number))
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    video = VideoFile(path)
    assert video.fps == pytest.approx(12.5)
    frames = list(video)
    assert [frame.number for frame in frames] == list(range(10))
    for number, pixels in frames:
        assert pixels.shape == (*HW, 3)
        assert pixels.dtype == np.uint8
        assert abs(pixels.mean() - (20 + 20 * number)) < 4
    assert video.failure is None


def test_frames_are_those_of_opencv(tmp_path):
    random = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, HW[::-1])
    for _ in range(5):
        writer.write(cv2.resize(random.integers(0, 256, (6, 8, 3), np.uint8), HW[::-1]))
    writer.release()
    capture = cv2.VideoCapture(str(tmp_path / "v.avi"))
    frames = list(VideoFile(tmp_path / "v.avi"))
    assert len(frames) == 5
    for frame in frames:
        np.testing.assert_array_equal(frame.pixels, capture.read()[1])


@pytest.mark.parametrize(("share", "failed"), [(0.5, True), (1.0, False)])
def test_file_that_is_cut_short_says_so_behind_its_last_frame(tmp_path, share, failed):
    with video_writer(tmp_path / "whole.avi", 25) as writer:
        for number in range(40):
            writer.write(np.random.default_rng(number).integers(0, 256, (*HW, 3), np.uint8))
    content = (tmp_path / "whole.avi").read_bytes()
    (tmp_path / "v.avi").write_bytes(content[: int(share * len(content))])
    video = VideoFile(tmp_path / "v.avi")
    count = len(list(video))
    assert (count < 36) == failed
    said = f"v.avi ends after {count} frames, its header tells of 40: was it cut short?"
    assert (str(video.failure).rpartition("/")[2] == said) == failed


@pytest.mark.parametrize("content", [b"", b"no video at all", b"\0" * 5000])
def test_file_that_is_no_video_is_refused(tmp_path, content):
    (tmp_path / "v.mp4").write_bytes(content)
    with pytest.raises(DataError, match=r"v\.mp4: is no video that OpenCV can decode, or has no frame"):
        VideoFile(tmp_path / "v.mp4")


def test_missing_file_and_folder_are_refused(tmp_path):
    for path in (tmp_path / "nowhere.mp4", tmp_path):
        with pytest.raises(DataError, match="there is no such file"):
            VideoFile(path)


def test_nothing_is_left_of_a_video_that_fails(tmp_path):
    path = tmp_path / "v.avi"
    with pytest.raises(DataError, match=r"v\.avi: the frames change their size from \(48, 64\) to \(40, 64\)"):  # noqa: SIM117
        with video_writer(path, 25) as writer:
            writer.write(gray(0))
            writer.write(gray(0, (40, 64)))
    with pytest.raises(DataError, match=r"v\.avi: there was no frame to write"), video_writer(path, 25):
        pass
    assert list(tmp_path.iterdir()) == []
