"""`facedeploy run` on frames: raw ones off standard input, and video files."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from facedeploy.image.draw import draw_detections
from facedeploy.runtime.face_detector import FaceDetector

HW = (60, 80)
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def frames():
    """Frames as different from one another as photos are."""
    random = np.random.default_rng(2)
    return [
        cv2.resize(random.integers(0, 256, (6, 8, 3), np.uint8), HW[::-1], interpolation=cv2.INTER_CUBIC)
        for _ in range(7)
    ]


@pytest.fixture(scope="module")
def detector(tiny_artifact):
    return FaceDetector.from_artifact(tiny_artifact.prefix)


@pytest.fixture
def raw(frames, tmp_path):
    """The frames' bytes in a file."""
    (tmp_path / "frames.bgr").write_bytes(b"".join(frame.tobytes() for frame in frames))
    return tmp_path / "frames.bgr"


@pytest.fixture
def words(tiny_artifact):
    """What a command line needs beside its input."""
    return "run", "--model_prefix_path", tiny_artifact.prefix


@pytest.fixture
def from_file(words, raw, monkeypatch):
    """The command with standard input from the file of raw frames."""

    def run(how, *more, wh=HW[::-1]):
        with raw.open() as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            return how(*words, "--stdin", f"{wh[0]}x{wh[1]}", *more)

    return run


@pytest.fixture
def process(words):
    """Start the command as a process of its own, with pipes."""
    started = []

    def popen(*more):
        line = [sys.executable, "-m", "facedeploy.cli.main", *words, "--stdin", f"{HW[1]}x{HW[0]}", *more]
        started.append(
            subprocess.Popen(
                [str(word) for word in line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )
        return started[-1]

    yield popen
    for one in started:
        one.kill()
        one.wait()
        for pipe in (one.stdout, one.stderr, one.stdin):
            with contextlib.suppress(BrokenPipeError):  # What a test has written and nobody has read.
                pipe.close()


def assert_lines(text, expected):
    """JSON Lines hold these detections, to the bit; `expected` is number -> Detections."""
    read = [json.loads(line) for line in text.splitlines()]
    assert [line["frame"] for line in read] == list(expected)
    for line, detections in zip(read, expected.values(), strict=True):
        for name, width in (("boxes", (4,)), ("scores", ()), ("landmarks", (5, 2))):
            np.testing.assert_array_equal(
                np.array(line[name], np.float32).reshape(-1, *width), getattr(detections, name)
            )


@pytest.mark.parametrize("more", [(), ("--instances", 3), ("--drop", "never", "--format", "jsonl")])
def test_lines_are_what_detect_finds_in_each_frame(from_file, command, detector, frames, more):
    code, out, error = from_file(command, *more)
    assert code == 0
    expected = {number: detector.detect(frame) for number, frame in enumerate(frames)}
    assert sum(map(len, expected.values())) > 0
    assert_lines(out, expected)
    assert error.startswith(f"7 frames, {sum(map(len, expected.values()))} boxes, ")
    assert error.count("\n") == 1


def test_frames_are_seen_at_a_scale(from_file, command, tiny_artifact, frames):
    code, out, _ = from_file(command, "--scale", "0.8")
    assert code == 0
    detector = FaceDetector.from_artifact(tiny_artifact.prefix, scale=0.8)
    expected = {number: detector.detect(frame) for number, frame in enumerate(frames)}
    assert sum(map(len, expected.values())) > 0
    assert_lines(out, expected)


def test_frames_too_large_for_the_scale_are_one_sentence(from_file, refused):
    said = from_file(refused, "--scale", "2")
    assert said.startswith("an image of 60x80 is 120x160 at scale 2, the canvas 96x128 (height x width) has no room")


def test_lines_go_to_a_file(from_file, command, tmp_path):
    _, out, _ = from_file(command)
    code, nothing, _ = from_file(command, "--output", tmp_path / "new" / "faces.jsonl")
    assert (code, nothing) == (0, "")
    assert (tmp_path / "new" / "faces.jsonl").read_text() == out
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_cut_last_frame_is_reported_after_the_whole_ones_are_written(from_file, command, raw):
    raw.write_bytes(raw.read_bytes()[:-1000])
    code, out, error = from_file(command)
    assert code == 1
    assert [json.loads(line)["frame"] for line in out.splitlines()] == list(range(6))
    assert error.splitlines()[0].startswith("6 frames, ")
    assert error.splitlines()[1:] == [
        "error: standard input ends inside frame 6: got 13,400 bytes of the 14,400 that a frame of 80x60 BGR has; "
        "is that the size of what is sent, and nothing else is (gst-launch-1.0 -q)?"
    ]


def test_cut_last_frame_leaves_the_whole_ones_of_its_batch(command, raw, compile_tiny, monkeypatch):
    raw.write_bytes(raw.read_bytes()[:-1])
    with raw.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        code, out, _ = command("run", "--stdin", "80x60", "--model_prefix_path", compile_tiny(4).prefix)
    assert code == 1
    assert [json.loads(line)["frame"] for line in out.splitlines()] == list(range(6))


def test_notes_stay_out_of_the_lines(from_file, command, other_json):
    code, out, error = from_file(command, "--vdsp_params_info", other_json)
    assert code == 0
    assert [json.loads(line)["frame"] for line in out.splitlines()] == list(range(7))
    assert error.startswith("the vdsp JSON normalizes as RGB ")


def test_no_frame_is_no_error(from_file, command, raw):
    raw.write_bytes(b"")
    code, out, error = from_file(command)
    assert (code, out) == (0, "")
    assert error.startswith("0 frames, 0 boxes, ")


def test_raw_frames_come_out_annotated(from_file, capfdbinary, frames, detector):
    from facedeploy.cli.main import main

    assert (
        from_file(lambda *line: main([str(word) for word in line]), "--format", "raw", "--draw_threshold", "0.6") == 0
    )
    got = np.frombuffer(capfdbinary.readouterr().out, np.uint8).reshape(-1, *HW, 3)
    expected = [draw_detections(frame, detector.detect(frame), 0.6) for frame in frames]
    np.testing.assert_array_equal(got, expected)
    assert (got != frames).any()


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_video_in_and_video_out(command, words, tmp_path, frames, detector, suffix):
    """MJPG and MPEG-4 lose something, so the pictures are compared as wholes."""
    writer = cv2.VideoWriter(str(tmp_path / "in.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, HW[::-1])
    for frame in frames:
        writer.write(frame)
    writer.release()
    capture = cv2.VideoCapture(str(tmp_path / "in.avi"))
    decoded = [capture.read()[1] for _ in frames]
    expected = {number: detector.detect(frame) for number, frame in enumerate(decoded)}
    code, out, _ = command(*words, "--video", tmp_path / "in.avi")
    assert code == 0
    assert_lines(out, expected)
    output = tmp_path / f"out{suffix}"
    code, out, error = command(*words, "--video", tmp_path / "in.avi", "--format", "video", "--output", output)
    assert (code, out) == (0, ""), error
    capture = cv2.VideoCapture(str(output))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    for number, frame in enumerate(decoded):
        read, got = capture.read()
        assert read
        drawn = draw_detections(frame, expected[number])
        assert np.abs(got.astype(int) - drawn).mean() < np.abs(got.astype(int) - frame).mean()
    assert not capture.read()[0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--stdin", "80x60", "--video", "v.mp4"], "argument --video: not allowed with argument --stdin"),
        (["--stdin", "80x60", "--file_path", "x"], "argument --file_path: not allowed with argument --stdin"),
        (["--stdin", "640"], "argument --stdin: got '640', expected WIDTHxHEIGHT in px, such as 640x480"),
        (["--stdin", "0x480"], "got '0x480', expected WIDTHxHEIGHT in px, such as 640x480, each from 1 to 16384"),
        (["--stdin", "80x60", "--save_dir", "out"], "--save_dir is for images (--file_path), got --stdin"),
        (["--video", "v.mp4", "--save_dir", "out"], "--save_dir is for images (--file_path), got --video"),
        (["--stdin", "80x60", "--draw"], "--draw is for images (--file_path), got --stdin"),
        (["--stdin", "80x60", "--decoders", "2"], "--decoders is for images"),
        (["--stdin", "80x60", "--format", "video"], "--format video: got no --output, expected *.avi or *.mp4"),
        (["--stdin", "80x60", "--format", "video", "--output", "v.mkv"], "got --output v.mkv, expected *.avi or *.mp4"),
        (["--stdin", "80x60", "--output", "/dev/null"], "--output /dev/null is no file that could be replaced"),
        (["--stdin", "80x60", "--fps", "5"], "--fps is for --format video alone"),
        (["--stdin", "80x60", "--draw_threshold", "0.6"], "--draw_threshold is for --format video or raw"),
        (["--stdin", "80x60", "--fps", "0"], "argument --fps: got '0', expected frames/s"),
        (["--stdin", "80x60", "--drop", "old"], "argument --drop: invalid choice: 'old'"),
        (["--video", "v.mp4", "--drop", "late"], "--drop late is for --stdin"),
        (["--video", "v.avi", "--format", "video", "--output", "./v.avi"], "--output would overwrite v.avi"),
        (["--video", "nowhere.mp4"], "nowhere.mp4: there is no such file"),
        (["--video", "text.mp4"], "text.mp4: is no video that OpenCV can decode"),
        (["--file_path", "x"], "--file_path needs --save_dir"),
        (["--file_path", "x", "--save_dir", "out", "--drop", "late"], "--drop is for frames (--stdin, --video)"),
        (["--file_path", "x", "--save_dir", "out", "--format", "jsonl"], "--format is for frames"),
        (["--stdin", "80x60", "--batch", "2"], "batch 2: "),
    ],
)
def test_wrong_options_are_one_sentence(refused, words, raw, monkeypatch, tmp_path, more, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("no video")
    with raw.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert said in refused(*words, *more)
    assert not (tmp_path / "out").exists()


def test_file_that_is_no_video_is_one_sentence_without_words_of_ffmpeg(start, words, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    out, error = start(sys.executable, "-m", "facedeploy.cli.main", *words, "--video", "text.mp4").communicate()
    assert out == ""
    assert error.count("\n") == 1
    assert ": error: text.mp4: is no video" in error


def test_standard_input_without_a_stream_is_one_sentence(refused, words, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert "standard input is a terminal or closed" in refused(*words, "--stdin", "80x60")


def test_file_that_cannot_be_written_ends_the_run_with_one_sentence(from_file, refused, full_disk, tmp_path):
    with full_disk():
        assert "faces.jsonl: cannot be written (File too large)" in from_file(
            refused, "--output", tmp_path / "full" / "faces.jsonl"
        )
    with full_disk(3000):
        assert "faces.avi: OpenCV could not write all of 7 frames" in from_file(
            refused, "--format", "video", "--output", tmp_path / "full" / "faces.avi"
        )
    assert list((tmp_path / "full").iterdir()) == []


def test_each_line_comes_while_the_next_frame_is_awaited_and_the_end_is_clean(process, frames, detector):
    run = process()
    for number, frame in enumerate(frames):
        pieces = [frame.tobytes()[:5001], frame.tobytes()[5001:]]
        for piece in pieces:
            run.stdin.write(piece)
            run.stdin.flush()
        assert_lines(run.stdout.readline(), {number: detector.detect(frame)})
    run.stdin.close()
    assert run.stdout.read() == b""
    assert run.wait(PATIENCE_SECONDS) == 0
    assert run.stderr.read().startswith(b"7 frames, ")


def test_real_pipe_from_another_program(words, frames, detector):
    code = (
        "import sys, numpy as np\n"
        f"for n in range(300): sys.stdout.buffer.write(np.full(({HW[0]}, {HW[1]}, 3), n % 256, np.uint8).tobytes())"
    )
    producer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    line = [sys.executable, "-m", "facedeploy.cli.main", *map(str, words), "--stdin", "80x60", "--max_detections", "3"]
    done = subprocess.run(line, stdin=producer.stdout, capture_output=True, timeout=PATIENCE_SECONDS, check=True)
    producer.stdout.close()
    assert producer.wait(PATIENCE_SECONDS) == 0
    read = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["frame"] for line in read] == list(range(300))
    assert [line["boxes"] for line in read[256:]] == [line["boxes"] for line in read[:44]], "the same pictures"


@pytest.mark.parametrize("program", ["ffmpeg", "gst-launch-1.0"])
def test_real_pipe_from_a_multimedia_program(words, program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    source = {
        "ffmpeg": "-loglevel error -f lavfi -i testsrc=size=80x60:rate=25 -frames:v 20 -f rawvideo -pix_fmt bgr24 -",
        "gst-launch-1.0": "-q videotestsrc num-buffers=20 ! video/x-raw,format=BGR,width=80,height=60 ! fdsink",
    }[program]
    producer = subprocess.Popen([program, *source.split()], stdout=subprocess.PIPE)
    line = [sys.executable, "-m", "facedeploy.cli.main", *map(str, words), "--stdin", "80x60"]
    done = subprocess.run(line, stdin=producer.stdout, capture_output=True, timeout=PATIENCE_SECONDS, check=True)
    producer.stdout.close()
    assert producer.wait(PATIENCE_SECONDS) == 0
    assert [json.loads(line)["frame"] for line in done.stdout.splitlines()] == list(range(20))


def test_late_frames_are_dropped_and_counted(process, frames):
    """However many are dropped: the last never is, order holds, and all are accounted for."""
    run = process("--drop", "late")
    run.stdin.write(frames[0].tobytes() * 2000)
    run.stdin.close()
    numbers = [json.loads(line)["frame"] for line in run.stdout.read().splitlines()]
    assert run.wait(PATIENCE_SECONDS) == 0
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 1999
    words = run.stderr.read().decode().split(", ")
    assert words[:2] == [f"{len(numbers)} frames", f"{2000 - len(numbers)} dropped"]


def test_reader_that_has_gone_ends_the_run_quietly(process, frames):
    run = process()
    run.stdin.write(frames[0].tobytes())
    run.stdin.flush()
    run.stdout.readline()
    run.stdout.close()
    with pytest.raises(BrokenPipeError):  # The producer's turn to see that its reader has gone.
        for _ in range(10000):
            run.stdin.write(frames[0].tobytes())
            run.stdin.flush()
    assert run.wait(PATIENCE_SECONDS) == 0
    assert run.stderr.read() == b""


@pytest.mark.parametrize(
    ("drop", "number", "code", "word"),
    [
        ("never", signal.SIGINT, 130, "interrupted"),
        ("late", signal.SIGINT, 130, "interrupted"),
        ("never", signal.SIGTERM, 143, "terminated"),
    ],
)
def test_interrupt_ends_the_run_quietly_and_keeps_what_is_done(process, frames, tmp_path, drop, number, code, word):
    run = process("--drop", drop, "--output", tmp_path / "out" / "faces.jsonl")
    run.stdin.write(frames[0].tobytes())
    run.stdin.flush()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(file.stat().st_size for file in tmp_path.glob("out/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(number)
    assert run.wait(PATIENCE_SECONDS) == code
    summary, said = run.stderr.read().decode().splitlines()
    assert summary.startswith("1 frames, ")
    assert said.endswith(word)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["faces.jsonl"]
    assert json.loads((tmp_path / "out" / "faces.jsonl").read_text())["frame"] == 0
