"""The journal of a dataset run: what is done, whenever the process that wrote it was killed."""

import errno
import fcntl
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.cli.journal import open_journal
from facedeploy.core.errors import ConfigError, DataError

RUN = {"artifact": "ab12", "confidence_threshold": 0.5, "size": [96, 128], "draw_threshold": None}
NAMES = {"0--Parade/a b", "ü/é", "top", "x" * 300, "a.b.c", '"quoted"', "\\"}


def reopened(folder, run=RUN, names=NAMES, resume=True):
    with open_journal(folder, run, names, resume) as journal:
        return journal.done


@pytest.fixture
def path(tmp_path):
    """A journal with some images done."""
    with open_journal(tmp_path, RUN, NAMES, resume=False) as journal:
        assert journal.done == frozenset()
        for name in ("top", "ü/é", "0--Parade/a b"):
            journal.add(name)
    return tmp_path / "run.journal"


def test_what_was_added_is_done_and_more_is_added_below(path, tmp_path):
    assert path.read_text(encoding="utf-8").splitlines()[1:] == ["top", "ü/é", "0--Parade/a b"]
    with open_journal(tmp_path, RUN, NAMES, resume=True) as journal:
        assert journal.done == {"top", "ü/é", "0--Parade/a b"}
        journal.add("a.b.c")
    assert path.read_text(encoding="utf-8").splitlines()[1:] == ["top", "ü/é", "0--Parade/a b", "a.b.c"]


def test_each_line_is_on_disk_before_the_next_image(tmp_path):
    with open_journal(tmp_path, RUN, NAMES, resume=False) as journal:
        for count, name in enumerate(sorted(NAMES), start=1):
            journal.add(name)
            assert (tmp_path / "run.journal").read_text(encoding="utf-8").splitlines()[count] == name


def test_without_resume_it_begins_anew(path, tmp_path):
    assert reopened(tmp_path, {"another": "run"}, resume=False) == frozenset()
    assert path.read_text() == '{"another": "run"}\n'


def test_resume_without_a_journal_starts_from_the_beginning(tmp_path):
    assert reopened(tmp_path / "new" / "folder") == frozenset()
    assert json.loads((tmp_path / "new" / "folder" / "run.journal").read_text()) == RUN


def test_it_may_be_cut_off_anywhere(path, tmp_path):
    """As a kill or a full disk leaves it: what is whole counts, the rest is as if it had never been written."""
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        done = whole[:size].decode(errors="ignore").split("\n")[1:-1]
        with open_journal(tmp_path, RUN, NAMES, resume=True) as journal:
            assert journal.done == set(done)
            journal.add("a.b.c")
        lines = path.read_text(encoding="utf-8").split("\n")
        assert json.loads(lines[0]) == RUN
        assert lines[1:] == [*done, "a.b.c", ""]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.sampled_from(sorted(NAMES)), max_size=4), max_size=5), st.data())
def test_done_is_the_union_of_all_runs_however_often_it_is_cut(tmp_path_factory, runs, data):
    folder, expected = tmp_path_factory.mktemp("journal"), set()
    for names in runs:
        with open_journal(folder, RUN, NAMES, resume=True) as journal:
            assert journal.done == expected
            for name in names:
                journal.add(name)
        expected |= set(names)
        with (folder / "run.journal").open("ab") as file:
            file.write("ü/é".encode()[: data.draw(st.integers(0, 5))])
    assert reopened(folder) == expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"artifact": "cd34"}, "(artifact: ab12 then, cd34 now)"),
        ({"size": [64], "draw_threshold": 0.5}, "(size: [96, 128] then, [64] now; draw_threshold: None then, 0.5 now)"),
        ({"new": 1}, "(new: None then, 1 now)"),
        ({"new": "x" * 500}, f"(new: None then, {'x' * 60}... now)"),
        (dict.fromkeys("abcde", ""), "(a: None then, '' now; b: None then, '' now; c: None then, '' now; and 2 more)"),
    ],
)  # fmt: skip
def test_another_run_is_one_sentence_that_names_what_differs(path, tmp_path, change, said):
    before = path.read_bytes()
    with pytest.raises(ConfigError) as caught:
        reopened(tmp_path, RUN | change)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"my own notes\n", "is no journal of a run: move it away"),
        (b"[" * 5000 + b"\n", "is no journal of a run: move it away"),
        (b"[1]\n", "is no journal of a run: move it away"),
        (json.dumps(RUN).encode() + b"\ntop\n\xff\n", "is damaged: byte "),
        (json.dumps(RUN).encode() + b"\ntop\nnonsense\n", "is damaged: 'nonsense' is no image of this run"),
    ],
)
def test_file_that_is_no_journal_is_left_alone(tmp_path, content, said):
    (tmp_path / "run.journal").write_bytes(content)
    with pytest.raises(DataError) as caught:
        reopened(tmp_path)
    assert said in str(caught.value)
    assert (tmp_path / "run.journal").read_bytes() == content


def test_two_processes_never_have_it_open(path, tmp_path):
    script = "import sys; from pathlib import Path; from facedeploy.cli.journal import open_journal\n"
    script += "with open_journal(Path(sys.argv[1]), {}, [], False): print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"open\n"
        for resume in (True, False):
            with pytest.raises(DataError, match=r"run\.journal: another run is writing there"):
                reopened(tmp_path, resume=resume)
        other.kill()  # And a process that was killed holds nothing.
    assert reopened(tmp_path, {}) == frozenset()


def test_place_that_cannot_be_written_is_one_sentence(tmp_path, full_disk):
    (tmp_path / "taken").touch()
    with pytest.raises(DataError, match=r"taken/run\.journal: cannot be written"):
        reopened(tmp_path / "taken")
    with full_disk(16), pytest.raises(DataError, match=r"run\.journal: cannot be written \(File too large\)"):
        reopened(tmp_path)
    assert reopened(tmp_path) == frozenset(), "half a header is no journal"


def test_full_disk_is_one_sentence_and_what_was_done_stays(path, tmp_path, full_disk):
    size = path.stat().st_size
    with open_journal(tmp_path, RUN, NAMES, resume=True) as journal:
        with full_disk(size + 3), pytest.raises(DataError, match=r"run\.journal: cannot be written") as caught:
            journal.add("a.b.c")
        assert caught.value.__cause__.errno in (errno.EFBIG, errno.ENOSPC)
    assert path.stat().st_size == size + 3
    assert reopened(tmp_path) == {"top", "ü/é", "0--Parade/a b"}


def test_nothing_follows_a_line_that_was_cut_off(path, tmp_path, full_disk):
    """Not even when there is room again: it would be part of that line."""
    with open_journal(tmp_path, RUN, NAMES, resume=True) as journal:
        for room in (path.stat().st_size + 3, 1 << 20):
            with full_disk(room), pytest.raises(DataError, match=r"run\.journal: cannot be written"):
                journal.add("a.b.c")
    assert reopened(tmp_path) == {"top", "ü/é", "0--Parade/a b"}


def test_finished_journal_has_the_order_of_the_images(path, tmp_path):
    with open_journal(tmp_path, RUN, NAMES, resume=True) as journal:
        journal.add("a.b.c")
        journal.finish(["0--Parade/a b", "a.b.c", "top"])
    assert path.read_text(encoding="utf-8").splitlines()[1:] == ["0--Parade/a b", "a.b.c", "top"]
    assert reopened(tmp_path) == {"0--Parade/a b", "a.b.c", "top"}


def test_run_that_waited_for_the_end_of_another_has_the_journal_that_is_there(path, tmp_path, monkeypatch):
    """Between opening and locking, another run ends, and puts its finished journal in the place of what is open."""
    true, finished = fcntl.flock, []

    def lock(file, how):
        if not finished:
            finished.append(True)
            path.with_name("new").write_bytes(path.read_bytes())
            path.with_name("new").rename(path)
        true(file, how)

    monkeypatch.setattr(fcntl, "flock", lock)
    with open_journal(tmp_path, RUN, NAMES, resume=True) as journal:
        journal.add("a.b.c")
        assert path.read_text(encoding="utf-8").splitlines()[-1] == "a.b.c"
