"""`facedeploy eval` and its entry in a checkout."""

import json
import subprocess
import sys

import pytest

import facedeploy
from facedeploy.cli import eval as verb
from facedeploy.cli.main import main
from facedeploy.widerface.ground_truth import GROUND_TRUTH_FILES, write_ground_truth

BLOCK = """\
==================== Results ====================
Easy   Val AP: 1.0
Medium Val AP: 1.0
Hard   Val AP: 0.5
=================================================
"""


@pytest.fixture
def folders(tmp_path):
    """Two images, one face found, one missed that counts as hard only."""
    faces = {"0--Parade/a": [[0, 0, 10, 10]], "0--Parade/b": [[0, 0, 10, 10]]}
    counted = {"0--Parade/a": [0]}
    write_ground_truth(tmp_path / "gt", faces, easy=counted, medium=counted, hard={**counted, "0--Parade/b": [0]})
    (tmp_path / "pred" / "0--Parade").mkdir(parents=True)
    (tmp_path / "pred" / "0--Parade" / "a.txt").write_text("0--Parade/a\n1\n0 0 10 10 0.9\n")
    (tmp_path / "pred" / "0--Parade" / "b.txt").write_text("0--Parade/b\n0\n")
    return tmp_path


def test_protocol_comes_first_then_exactly_the_block(folders, capsys):
    assert main(["eval", "-p", str(folders / "pred"), "-g", str(folders / "gt")]) == 0
    output = capsys.readouterr()
    assert output.out.endswith("\n" + BLOCK)
    protocol = output.out.removesuffix(BLOCK)
    for part in (
        "2 images",
        "0 missing",
        "0 extra",
        "easy 1, medium 1, hard 2",
        "scores 0.9 to 0.9",
        "at most 1 boxes",
    ):
        assert part in protocol
    assert output.err == ""


def test_warnings_and_missing_files_are_in_the_protocol(folders, capsys):
    (folders / "pred" / "0--Parade" / "b.txt").rename(folders / "pred" / "0--Parade" / "c.txt")
    arguments = ["eval", "--pred", str(folders / "pred"), "--gt", str(folders / "gt")]
    assert main(arguments) == 2
    assert "1 of 2 images have no prediction file: 0--Parade/b" in capsys.readouterr().err
    assert main([*arguments, "--allow-missing"]) == 0
    output = capsys.readouterr().out
    assert "1 evaluated, 1 missing, 1 extra" in output
    assert output.count("\nwarning: ") == 2
    assert output.endswith(BLOCK)


def test_json_and_plot_are_written(folders, capsys):
    numbers, plot = folders / "out" / "numbers.json", folders / "out" / "curves.png"
    arguments = ["eval", "-p", str(folders / "pred"), "-g", str(folders / "gt"), "--json", str(numbers)]
    assert main([*arguments, "--plot", str(plot)]) == 0
    content = json.loads(numbers.read_text())
    assert (content["easy"], content["hard"], content["images"]) == (1.0, 0.5, 2)
    assert content["faces"] == {"easy": 1, "medium": 1, "hard": 2}
    assert content["score_range"] == [0.9, 0.9]
    assert "precision_recall" not in content
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.endswith(BLOCK)


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_output_that_cannot_be_written_is_one_sentence(folders, capsys, option):
    (folders / "taken.png").mkdir()
    arguments = ["eval", "-p", str(folders / "pred"), "-g", str(folders / "gt"), option, str(folders / "taken.png")]
    assert main(arguments) == 2
    assert "taken.png: cannot be written" in capsys.readouterr().err


def test_plot_of_unknown_format_fails_before_the_work(folders, capsys):
    assert main(["eval", "-p", str(folders / "nowhere"), "-g", str(folders / "gt"), "--plot", "curves.bmp"]) == 2
    assert "got suffix '.bmp'" in capsys.readouterr().err


def test_missing_ground_truth_says_what_it_is_and_where_it_goes(folders, capsys, monkeypatch):
    monkeypatch.chdir(folders)
    monkeypatch.setattr(facedeploy, "__file__", str(folders / "site-packages" / "x" / "facedeploy" / "__init__.py"))
    assert main(["eval", "-p", "pred"]) == 2
    message = capsys.readouterr().err
    for part in (*GROUND_TRUTH_FILES, "common/eval/ground_truth", "eval_tools.zip"):
        assert part in message
    assert len(message.splitlines()) == 1


def test_default_ground_truth_is_the_checkouts_then_the_current_directorys(folders, monkeypatch):
    checkout = folders / "checkout"
    monkeypatch.setattr(facedeploy, "__file__", str(checkout / "source_code" / "facedeploy" / "__init__.py"))
    monkeypatch.chdir(folders)
    assert verb.default_ground_truth() == verb.GROUND_TRUTH
    (checkout / "common" / "eval").mkdir(parents=True)
    assert verb.default_ground_truth() == checkout / verb.GROUND_TRUTH
    (folders / "common" / "eval").mkdir(parents=True)
    (folders / "gt").rename(folders / "common" / "eval" / "ground_truth")
    assert verb.default_ground_truth() == verb.GROUND_TRUTH
    (checkout / "common" / "eval" / "ground_truth").mkdir()
    (checkout / "common" / "eval" / "ground_truth" / "wider_face_val.mat").touch()
    assert verb.default_ground_truth() == checkout / verb.GROUND_TRUTH


def test_entry_of_the_checkout_runs_from_anywhere(folders, repository):
    entry = repository / "common" / "eval" / "evaluation.py"
    command = [sys.executable, str(entry), "-p", "pred", "-g", "gt"]
    finished = subprocess.run(command, cwd=folders, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.endswith(BLOCK)
    assert finished.stderr == ""


def test_help_needs_nothing_heavy(repository):
    code = (
        "import sys\nfrom facedeploy.cli.main import main\ntry:\n    main(['eval', '--help'])\nexcept SystemExit:\n"
        "    pass\nprint([m for m in ('scipy', 'numpy', 'matplotlib', 'tqdm') if m in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.endswith("[]\n")
