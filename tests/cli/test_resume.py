"""`facedeploy run --resume`: nothing is lost, nothing is done twice."""

import errno
import json
import os
import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from facedeploy.cli import writer


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


IN_ORDER = "--instances", 1, "--decoders", 1  # So that results are written in the order of the images.


def stop_after(monkeypatch, count, error=KeyboardInterrupt):
    """Let the run end itself by an error when so many images are written, as Ctrl-C or a full disk would."""
    true, written = writer.write_predictions, []

    def write(path, name, detections):
        if len(written) == count:
            raise error
        true(path, name, detections)
        written.append(name)

    monkeypatch.setattr(writer, "write_predictions", write)
    return written


def journaled(folder):
    return (folder / "run.journal").read_text(encoding="utf-8").splitlines()[1:]


@pytest.mark.parametrize("words", [(), ("--draw",), ("--isolate",)])
def test_resumed_run_ends_with_the_bytes_of_a_whole_one(run, photos, tmp_path, monkeypatch, words):
    (photos / "images" / "0--Parade" / "broken.jpg").write_bytes(b"no image")
    words = *words, *IN_ORDER
    assert run(*words, save_dir=tmp_path / "whole")[0] == 1
    for count in (0, 2, 5):
        folder = tmp_path / f"out{count}"
        with monkeypatch.context() as patch:
            stop_after(patch, count)
            code, _, error = run(*words, "--resume", save_dir=folder)
            assert (code, error.splitlines()[-1]) == (130, "facedeploy run: interrupted")
        assert journaled(folder) == journaled(tmp_path / "whole")[:count]
        (folder / "0--Parade").mkdir(exist_ok=True)
        for place in (folder, folder / "0--Parade"):
            (place / ".partial-0123.txt").write_text("half writ")
        with monkeypatch.context() as patch:
            written = stop_after(patch, None)
            code, out, error = run(*words, "--resume", save_dir=folder)
        assert written == journaled(tmp_path / "whole")[count:]
        assert (code, error.splitlines()[0]) == (1, "1 of 7 failed:")
        assert out.startswith(f"{6 - count} images, ")
        assert out.endswith(f"; {count} images were done before\n" if count else f"written to {folder}\n")
        assert tree(folder) == tree(tmp_path / "whole")


def test_finished_run_has_nothing_left_but_what_failed(run, new_photo, photos, tmp_path):
    broken = photos / "images" / "top2.jpg"
    broken.write_bytes(b"no image")
    run()
    before = tree(tmp_path / "out")
    code, out, error = run("--resume")
    assert (code, out.split(", ")[:2]) == (1, ["0 images", "0 boxes"])
    assert error.splitlines()[0] == "1 of 7 failed:"
    assert tree(tmp_path / "out") == before
    new_photo(broken, 3)
    code, out, error = run("--resume")
    assert (code, error, out.split(", ")[0]) == (0, "", "1 images")
    run(save_dir=tmp_path / "whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert not (tmp_path / "out" / "failures.jsonl").exists()


def test_results_that_have_gone_are_done_again(run, tmp_path):
    run("--draw")
    before = tree(tmp_path / "out")
    (tmp_path / "out" / "top.txt").unlink()
    (tmp_path / "out" / "0--Parade" / "a.b.txt").write_text("")
    (tmp_path / "out" / "1--Handshaking" / "same.jpg").unlink()
    assert run("--draw", "--resume")[1].startswith("3 images, ")
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--confidence_threshold", "0.7"], "(confidence_threshold: 0.5 then, 0.7 now)"),
        (["--nms_threshold", "0.3", "--max_detections", "9"], "(nms_threshold: 0.4 then, 0.3 now; max_detections: 200"),
        (["--draw"], "(draw_threshold: None then, 0.5 now)"),
        (["--ignore_exif"], "(ignore_exif: False then, True now)"),
    ],
)
def test_another_run_is_refused_and_names_what_differs(run, refused, tmp_path, words, said):
    run()
    before = tree(tmp_path / "out")
    assert said in run(*words, "--resume", how=refused)
    assert tree(tmp_path / "out") == before
    assert run(*words)[0] == 0, "it starts from the beginning without --resume"


def test_other_images_artifact_and_preprocessing_are_another_run(
    run, new_photo, refused, photos, compile_tiny, other_json
):
    run()
    other = compile_tiny(2).prefix
    assert "(artifact: " in run("--model_prefix_path", other, "--resume", how=refused)
    model = ("--vdsp_params_info", other_json)
    assert "vdsp_params.color_order: BGR then, RGB now" in run(*model, "--resume", how=refused)
    (photos / "images" / "top.PNG").rename(photos / "images" / "top.png")
    assert "(list of images: " in run("--resume", how=refused)
    new_photo(photos / "images" / "more.jpg", 2)
    assert "(number of images: 6 then, 7 now; list" in run("--resume", how=refused)


def test_what_runs_side_by_side_is_no_other_run(run, tmp_path, monkeypatch):
    run(save_dir=tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        run("--instances", 2, "--decoders", 3)
    assert run("--resume", "--isolate", "--threads", 1)[0] == 0
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_batch_is_of_other_images_and_gives_the_same(run, compile_tiny, tmp_path, monkeypatch):
    words = ("--model_prefix_path", compile_tiny(2).prefix, *IN_ORDER)
    run(*words, save_dir=tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        run(*words)
    assert len(journaled(tmp_path / "out")) == 3, "what is written is done, whatever comes of the rest of its batch"
    assert run(*words, "--resume")[0] == 0
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_full_disk_ends_the_run_with_one_sentence_and_resume_goes_on(run, refused, tmp_path, monkeypatch):
    run(save_dir=tmp_path / "whole")
    true, count = os.write, iter(range(99))

    def write(descriptor, data):
        if ".partial-" in os.readlink(f"/proc/self/fd/{descriptor}") and next(count) >= 3:
            true(descriptor, data[:50])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return true(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        # One image at a time: of two side by side, the later one may have its file already.
        assert ".txt: cannot be written (No space left on device)" in run(*IN_ORDER, how=refused)
    assert sorted(tree(tmp_path / "out")) == sorted(
        [*(f"{name}.txt" for name in journaled(tmp_path / "out")), "run.journal"]
    )
    assert len(journaled(tmp_path / "out")) == 3
    assert run("--resume")[1].startswith("3 images, ")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_pictures_among_the_images_are_refused(run, new_photo, refused, photos, tmp_path):
    """The next run would take them for images, and could not be the same run."""
    for folder in (photos / "images", photos / "images" / "out"):
        new_photo(photos / "images" / "z.png", 1)
        (photos / "images" / "0--Parade" / "a b.jpg").unlink(missing_ok=True)
        (photos / "images" / "0--Parade" / "same.jpg").unlink(missing_ok=True)
        (photos / "images" / "ü--Gruppe" / "é.jpg").unlink(missing_ok=True)
        assert "--draw would" in run("--draw", how=refused, save_dir=folder)
        assert run(save_dir=folder)[0] == 0, "prediction files are no images"
        assert run("--resume", save_dir=folder)[1].startswith("0 images, ")


def test_killed_at_random_moments(start, new_photo, repository, tiny_artifact, tmp_path):
    """A few kills here; by hand there may be more."""
    for number in range(100):
        new_photo(tmp_path / "many" / f"event {number % 7}" / f"{number}.jpg", number % 7)
    (tmp_path / "many" / "broken.png").write_bytes(b"no image")
    script = repository / "tests" / "bench" / "kill_resume.py"
    words = ("--images", "many", "--model_prefix_path", tiny_artifact.prefix, "--kills", 3)
    out, error = start(sys.executable, script, *words).communicate(timeout=200)
    assert error == ""
    lines = out.splitlines()
    assert lines[0].endswith("100 images are done, 102 files")
    assert lines[-1].startswith("3 kills, ")
    assert "all the same bytes" in lines[-1]


def test_damaged_images_are_all_accounted_for(start, repository, tiny_artifact):
    """Two of each kind here; by hand there may be more."""
    script = repository / "tests" / "bench" / "corrupt_images.py"
    words = ("--model_prefix_path", tiny_artifact.prefix, "--count", 50)
    process = start(sys.executable, script, *words)
    out, error = process.communicate(timeout=200)
    assert error == ""
    assert process.returncode == 0, out
    assert out.splitlines()[-1].startswith("50 images: ")


def test_hang_is_reported_and_the_run_goes_on(run, photos, fake_opencv, tmp_path):
    path = photos / "images" / "0--Parade" / "hang.jpg"
    path.write_bytes(b"HANG!")
    code, out, error = run("--isolate", "--decode_timeout", "0.5", "--decoders", 2)
    assert (code, out.split(", ")[0]) == (1, "6 images")
    reason = "is not decoded after 0.5 s, so that its decoder was killed"
    assert error.splitlines() == ["1 of 7 failed:", f"  {path}: {reason}"]
    report = (tmp_path / "out" / "failures.jsonl").read_text()
    assert json.loads(report) == {"name": "0--Parade/hang", "path": str(path), "reason": reason}
    run(save_dir=tmp_path / "whole", file_path=photos / "images" / "top.PNG")
    assert (tmp_path / "out" / "top.txt").read_bytes() == (tmp_path / "whole" / "top.txt").read_bytes()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_a_run_that_is_stopped(start, photos, tiny_artifact, fake_opencv, tmp_path, how):
    """While one hangs, for which Ctrl-C does not wait either."""
    (photos / "images" / "top2.jpg").write_bytes(b"HANG!")
    words = ("--file_path", photos, "--model_prefix_path", tiny_artifact.prefix, "--save_dir", "out", "--isolate")
    process = start(sys.executable, "-c", RUN_WITH_FAKE, fake_opencv, *words, "--decode_timeout", 300, "--decoders", 1)
    deadline = time.monotonic() + 60
    while not (fake_opencv / "hangs").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = children(process.pid)
    assert len(workers) == 1
    process.send_signal(how)
    _, error = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert (process.returncode, error) == (130, "facedeploy run: interrupted\n")
    while workers & running() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not workers & running()


# This process has the true OpenCV, those that decode the fake one. A job in the background ignores SIGINT.
RUN_WITH_FAKE = """
import signal, sys
import facedeploy.image.opencv
from facedeploy.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, sys.argv[1])
sys.exit(main(["run", *sys.argv[2:]]))
"""


@pytest.mark.parametrize("words", [(), ("--isolate",)])
def test_only_files_are_images(run, photos, tmp_path, words):
    """A pipe would never open. A link to a file is one."""
    os.mkfifo(tmp_path / "pipe")
    (photos / "images" / "pipe.jpg").symlink_to(tmp_path / "pipe")
    (photos / "images" / "zero.png").symlink_to("/dev/zero")
    (photos / "images" / "link.png").symlink_to(photos / "images" / "top.PNG")
    code, out, error = run(*words)
    assert (code, out.split(", ")[0]) == (1, "7 images")
    assert error.splitlines() == [
        "2 of 9 failed:",
        *(
            f"  {photos}/images/{name}: is a pipe, a socket or a device, expected a file"
            for name in ("pipe.jpg", "zero.png")
        ),
    ]
    assert (tmp_path / "out" / "link.txt").read_text() == (tmp_path / "out" / "top.txt").read_text().replace(
        "top", "link"
    )


def done(folder):
    return journaled(folder / "out") if (folder / "out" / "run.journal").exists() else []


def children(pid):
    text = "".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return {int(word) for word in text.split()}


def running():
    """Processes that are not dead."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state = path.read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in ("Z", "X"):
            found.add(int(path.parent.name))
    return found


def test_exif_is_followed_unless_told_otherwise(run, new_photo, tmp_path):
    tiff = b"MM\0*\0\0\0\x08" + b"\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + b"\0\0\0\0"  # Orientation 6.
    content = b"Exif\0\0" + tiff
    new_photo(tmp_path / "plain" / "x.jpg", 1)
    jpeg = (tmp_path / "plain" / "x.jpg").read_bytes()
    turned = jpeg[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + jpeg[2:]
    (tmp_path / "turned").mkdir()
    (tmp_path / "turned" / "x.jpg").write_bytes(turned)
    (tmp_path / "upright").mkdir()
    upright = np.rot90(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), -1)
    (tmp_path / "upright" / "x.png").write_bytes(cv2.imencode(".png", upright)[1].tobytes())
    results = {}
    ignore, isolate = "--ignore_exif", "--isolate"
    for name, *words in (["plain"], ["upright"], ["turned"], ["turned", ignore], ["turned", ignore, isolate]):
        key = " ".join([name, *words])
        assert run(*words, file_path=tmp_path / name, save_dir=tmp_path / "out" / key)[0] == 0
        results[key] = (tmp_path / "out" / key / "x.txt").read_bytes()
    assert results["turned"] == results["upright"] != results["plain"]
    assert results[f"turned {ignore}"] == results[f"turned {ignore} {isolate}"] == results["plain"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--decode_timeout", "5"], "--decode_timeout needs --isolate"),
        (["--isolate", "--decode_timeout", "0"], "argument --decode_timeout: got '0', expected seconds, more than 0"),
        (["--isolate", "--decode_timeout", "nan"], "argument --decode_timeout: got 'nan'"),
        (["--isolate", "--decode_timeout", "1e9"], "argument --decode_timeout: got '1e9'"),
    ],
)
def test_wrong_options_are_one_sentence(run, refused, tmp_path, words, said):
    assert said in run(*words, how=refused)
    assert not (tmp_path / "out").exists()
