"""The offline path: image2npz, vamp --datalist, npz-decode; its results are those of `run`, to the byte."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from facedeploy.npz.files import read_slots_npz, write_slots_npz


@pytest.fixture
def run(command, tiny_artifact):
    def with_words(*words, how=command):
        return how("run", "--model_prefix_path", tiny_artifact.prefix, *words)

    return with_words


@pytest.fixture
def offline(command, tiny_artifact, photos, tmp_path):
    """The three commands one after the other; this is the words of each."""
    npz, datalist, outputs = tmp_path / "npz", tmp_path / "npz.txt", tmp_path / "npz_out"
    return {
        "encode": ("image2npz", "--dataset_path", photos, "--target_path", npz, "--text_path", datalist),
        "infer": ("perf", "-m", tiny_artifact.prefix, "--datalist", datalist, "--path_output", outputs),
        "decode": (
            *("npz-decode", "--txt", tmp_path / "decoded", "--input_image_dir", photos, "--model_size", 96, 128),
            *("--vamp_datalist_path", datalist, "--vamp_output_dir", outputs),
        ),
    }


def tree(folder, suffix=".txt"):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob(f"*{suffix}")}


@pytest.mark.parametrize("layout", ["wider", "flat"])
def test_results_are_those_of_run_to_the_byte_though_the_list_is_shuffled(
    offline, command, run, photos, tmp_path, layout
):
    if layout == "flat":
        for number, path in enumerate(sorted(path for path in photos.rglob("*") if path.is_file())):
            path.rename(photos / f"{number} {path.name}")
        for folder in sorted((path for path in photos.rglob("*") if path.is_dir()), reverse=True):
            folder.rmdir()
    assert run("--file_path", photos, "--save_dir", tmp_path / "direct")[0] == 0

    assert command(*offline["encode"])[:2] == (0, f"6 npz files in {tmp_path}/npz, listed in {tmp_path}/npz.txt\n")
    lines = (tmp_path / "npz.txt").read_text().splitlines(keepends=True)
    random.Random(1).shuffle(lines)
    (tmp_path / "npz.txt").write_text("".join(lines))
    assert command(*offline["infer"])[:2] == (0, f"6 output npz files written to {tmp_path}/npz_out\n")
    assert tree(tmp_path / "npz", ".npz").keys() == tree(tmp_path / "npz_out", ".npz").keys()
    code, out, error = command(*offline["decode"])
    assert (code, error) == (0, "")
    assert out.startswith("6 images, ")

    direct = tree(tmp_path / "direct")
    assert len(direct) == 6
    assert all(content.count(b"\n") > 10 for content in direct.values())
    assert tree(tmp_path / "decoded") == direct


def test_pictures_are_those_of_run_too(offline, command, run, photos, tmp_path):
    for step in ("encode", "infer"):
        assert command(*offline[step])[0] == 0
    assert command(*offline["decode"], "--draw", "--draw_threshold", 0.7)[0] == 0
    run("--file_path", photos, "--save_dir", tmp_path / "direct", "--draw", "--draw_threshold", 0.7)
    assert len(tree(tmp_path / "direct", ".jpg")) == 6
    assert tree(tmp_path / "decoded", ".jpg") == tree(tmp_path / "direct", ".jpg")


def test_damage_on_the_way_is_reported_and_the_rest_goes_on(offline, command, photos, tmp_path):
    (photos / "images" / "broken.jpg").write_bytes(b"no image")
    code, out, error = command(*offline["encode"])
    assert (code, out.split()[0], error.splitlines()[0]) == (1, "6", "1 of 7 failed:")

    (tmp_path / "npz" / "top.npz").write_bytes(b"damaged")
    code, out, error = command(*offline["infer"])
    assert (code, out.split()[0], error.splitlines()[0]) == (1, "5", "1 of 6 failed:")
    assert "top.npz: cannot be read" in error

    (photos / "images" / "0--Parade" / "same.jpg").write_bytes(b"no image any more")
    damaged = tmp_path / "npz_out" / "0--Parade" / "a.b.npz"
    slots = read_slots_npz(damaged)
    slots.boxes[...] = float("nan")
    write_slots_npz(damaged, slots)
    code, out, error = command(*offline["decode"])
    assert (code, out.split()[0], error.splitlines()[0]) == (1, "3", "3 of 6 failed:")
    assert "npz_out/top.npz: cannot be read (No such file or directory)" in error
    assert "same.jpg: " in error
    assert "a.b.npz: output_1: got numbers that are not finite" in error
    assert len(tree(tmp_path / "decoded")) == 3


def test_what_fails_has_no_results_of_an_earlier_run(offline, command, photos, tmp_path):
    for step in offline:
        assert command(*offline[step])[0] == 0
    (tmp_path / "npz" / "top.npz").write_bytes(b"damaged")
    assert command(*offline["infer"])[0] == 1
    assert not (tmp_path / "npz_out" / "top.npz").exists()
    assert command(*offline["decode"])[0] == 1
    assert len(tree(tmp_path / "decoded")) == 5
    (photos / "images" / "0--Parade" / "a b.jpg").write_bytes(b"no image any more")
    assert command(*offline["encode"])[0] == 1
    assert not (tmp_path / "npz" / "0--Parade" / "a b.npz").exists()


@pytest.mark.parametrize("words", [("-s", "[3,640,640]", "-b", 1, "-i", 2), ("--iterations", 7)])
def test_options_that_play_no_part_with_a_list_are_met_with_a_line(offline, command, words):
    command(*offline["encode"])
    code, _, error = command(*offline["infer"], *words)
    assert code == 0
    assert error.splitlines()[0].startswith("with --datalist each file runs once, at its own size: -s")


@pytest.mark.parametrize("files", [6, 1])
def test_processes_share_the_list_and_write_what_one_writes(offline, command, tmp_path, files):
    """Also where there are more of them than files."""
    command(*offline["encode"])
    (tmp_path / "npz" / "top.npz").write_bytes(b"damaged")
    listed = sorted((tmp_path / "npz").rglob("*.npz"), reverse=True)[-files:]
    (tmp_path / "npz.txt").write_text("".join(f"{path}\n" for path in listed))
    one = command(*offline["infer"])
    kept = tree(tmp_path / "npz_out", ".npz")
    shutil.rmtree(tmp_path / "npz_out")
    assert command(*offline["infer"], "-p", 2) == one
    assert len(kept) == (5 if files == 6 else 1)
    assert tree(tmp_path / "npz_out", ".npz") == kept


def test_failure_of_one_process_is_one_sentence(offline, command, tmp_path):
    """Its folder cannot be made, since a file has its name; what the others write has another folder."""
    command(*offline["encode"])
    (tmp_path / "npz_out").mkdir()
    (tmp_path / "npz_out" / "0--Parade").write_bytes(b"")
    code, out, error = command(*offline["infer"], "-p", 2)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert "npz_out/0--Parade/" in error
    assert "cannot be written" in error
    assert not list((tmp_path / "npz_out").rglob(".partial-*"))


def test_output_over_its_input_is_refused_before_any_process_starts(offline, refused, command, tmp_path):
    command(*offline["encode"])
    assert "would be overwritten by its output" in refused(*offline["infer"][:-1], tmp_path / "npz", "-p", 2)


def test_interrupt_ends_all_processes(offline, command, tmp_path):
    command(*offline["encode"])
    lines = (tmp_path / "npz.txt").read_text().splitlines()
    for number in range(3000):  # A list that takes long.
        os.link(lines[0], tmp_path / "npz" / f"{number}.npz")
    (tmp_path / "npz.txt").write_text("".join(f"{tmp_path}/npz/{number}.npz\n" for number in range(3000)))
    words = [sys.executable, "-m", "facedeploy.cli.main", *map(str, offline["infer"]), "-p", "2"]
    # A session of its own, so that the interrupt reaches all of it, as a terminal's does.
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        outputs = tmp_path / "npz_out"
        while len(list(outputs.glob("[0-9]*.npz"))) < 10:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        out, error = process.communicate(timeout=60)  # Until the last process has closed what it inherited.
    assert (process.returncode, out) == (130, b"")
    assert error.endswith(b"interrupted\n")
    assert b"Traceback" not in error
    assert not list(outputs.glob(".partial-*"))
    assert len(list(outputs.iterdir())) < 3000


def test_mistakes_are_one_sentence(offline, command, refused, photos, tmp_path):
    assert "there is no such file" in refused(*offline["encode"][:2], tmp_path / "nowhere", *offline["encode"][3:])
    command(*offline["encode"])
    overwriting = (*offline["infer"][:-1], tmp_path / "npz")
    assert "would be overwritten by its output" in refused(*overwriting)
    command(*offline["infer"])
    (photos / "images" / "top.PNG").unlink()
    assert "1 of 6 npz files cannot be paired with one image by name" in refused(*offline["decode"])
    assert not (tmp_path / "decoded").exists()
    words = [str(word) for word in offline["decode"]]
    words[words.index("96")] = "0"
    assert "argument --model_size: got '0', expected a whole number from 1" in refused(*words)


def test_name_with_a_line_break_is_one_failure_and_the_rest_goes_on(offline, command, photos, tmp_path):
    (photos / "images" / "a\nb.jpg").touch()
    code, out, error = command(*offline["encode"])
    assert (code, out.split()[0]) == (1, "6")
    assert error.splitlines()[0] == "1 of 7 failed:"
    assert error.splitlines()[1].startswith(r"  'a\nb': a name with a line break cannot stand in a list")
    assert len(error.splitlines()) == 2
    assert command(*offline["infer"])[0] == 0
    assert command(*offline["decode"])[0] == 0
    assert len(tree(tmp_path / "decoded")) == 6


def test_full_disk_ends_each_step_with_one_sentence(offline, command, refused, full_disk, tmp_path):
    for step, files in (("encode", "npz"), ("infer", "npz_out"), ("decode", "decoded")):
        with full_disk():
            assert "cannot be written (File too large)" in refused(*offline[step])
        assert not [path for path in (tmp_path / files).rglob("*") if path.is_file()], "nothing half written is left"
        command(*offline[step])


def test_pictures_never_overwrite_images(offline, command, refused, photos):
    command(*offline["encode"])
    command(*offline["infer"])
    words = [
        photos / "images" if isinstance(word, Path) and word.name == "decoded" else word for word in offline["decode"]
    ]
    assert "--draw would overwrite" in refused(*words, "--draw")


@pytest.mark.parametrize("entry", ["image2npz", "npz_decode"])
def test_entries_of_the_checkout_run_from_anywhere_without_tvm(start, repository, offline, command, tmp_path, entry):
    command(*offline["encode"])
    command(*offline["infer"])
    script = repository / "common" / "utils" / f"{entry}.py"
    words = offline["encode" if entry == "image2npz" else "decode"][1:]
    relative = [os.path.relpath(word, tmp_path) if isinstance(word, Path) else word for word in words]
    without_tvm = "import sys; sys.modules['tvm'] = None; del sys.argv[0]; "
    without_tvm += "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    process = start(sys.executable, "-c", without_tvm, script, *relative)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")
    assert out.startswith("6 npz files in npz" if entry == "image2npz" else "6 images, ")
