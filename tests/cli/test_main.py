"""The table of verbs, help that answers at once, and errors that become exit codes."""

import json
import os
import resource
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from facedeploy.cli import main as module
from facedeploy.cli import vamc, vamp
from facedeploy.cli.main import VERBS, Terminated, VerbEntry, main
from facedeploy.core.errors import DataError

HEAVY = ("torch", "tvm", "onnx", "numpy", "cv2", "pydantic")


def test_help_takes_no_time():
    """CPU time, the best of three: 0.3 s is what a person still takes for at once."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "facedeploy.cli.main", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert b"usage: facedeploy" in done.stdout
    assert min(seconds) < 0.3


IMPORTED = """
import contextlib, io, json, sys
from facedeploy.cli import vamc, vamp
from facedeploy.cli.main import VERBS, main
texts, imported = {}, {}
for words in ([], *([verb] for verb in VERBS)):
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    name = words[0] if words else ""
    texts[name] = text.getvalue()
    imported[name] = [heavy for heavy in sys.argv[1:] if heavy in sys.modules]
print(json.dumps([texts, imported]))
"""


def test_every_help_works_and_imports_nothing_heavy():
    command = [sys.executable, "-c", IMPORTED, *HEAVY]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    texts, imported = json.loads(done.stdout)
    assert set(texts) == {"", *VERBS}
    assert imported == {name: [] for name in texts}
    assert all(verb in texts[""] for verb in VERBS)
    assert all(f"facedeploy {verb}" in texts[verb] for verb in VERBS)


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("facedeploy ")


@pytest.mark.parametrize(
    ("run", "words", "said"),
    [
        (main, ["detect"], "invalid choice: 'detect' (choose from"),
        (main, [], "the following arguments are required: VERB"),
        (main, ["run"], "the following arguments are required: --model_prefix_path"),
        (main, ["run", "--model_prefix_path", "mod"], "one of the arguments --file_path --stdin --video is required"),
        (main, ["run", "--nonsense"], "required"),
        (vamc.main, ["build"], "invalid choice: 'build'"),
        (vamc.main, [], "required: verb"),
        (vamp.main, [], "required: -m"),
    ],
)
def test_wrong_words_are_exit_code_2_and_one_sentence(capsys, run, words, said):
    with pytest.raises(SystemExit) as ended:
        run(words)
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert said in output.err.splitlines()[-1]


@pytest.fixture
def verb(monkeypatch):
    """A verb that raises what it is told to."""

    def raising(error):
        def run(arguments):
            raise error

        fake = SimpleNamespace(DESCRIPTION="", add_arguments=lambda parser: None, run=run)
        monkeypatch.setitem(sys.modules, "fake_verb", fake)
        monkeypatch.setitem(VERBS, "fake", VerbEntry("fake_verb", ""))
        return main(["fake"])

    return raising


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("x.npz: is damaged"), 2, "facedeploy fake: error: x.npz: is damaged\n"),
        (
            OSError(28, "No space left on device", "/x"),
            2,
            "facedeploy fake: error: [Errno 28] No space left on device: '/x'\n",
        ),
        (KeyboardInterrupt(), 130, "facedeploy fake: interrupted\n"),
        (Terminated(), 143, "facedeploy fake: terminated\n"),
    ],
)
def test_errors_go_to_stderr_and_become_exit_codes(verb, capsys, error, code, said):
    assert verb(error) == code
    assert capsys.readouterr() == ("", said)


def test_sigterm_is_an_exception_in_the_verb_alone(monkeypatch, capsys):
    def run(arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("nothing comes behind the signal")

    before = signal.getsignal(signal.SIGTERM)
    fake = SimpleNamespace(DESCRIPTION="", add_arguments=lambda parser: None, run=run)
    monkeypatch.setitem(sys.modules, "fake_verb", fake)
    monkeypatch.setitem(VERBS, "fake", VerbEntry("fake_verb", ""))
    assert main(["fake"]) == 143
    assert capsys.readouterr() == ("", "facedeploy fake: terminated\n")
    assert signal.getsignal(signal.SIGTERM) == before


def test_bugs_keep_their_traceback(verb):
    with pytest.raises(ZeroDivisionError):
        verb(ZeroDivisionError("a bug"))


def test_reader_that_has_gone_is_no_error(repository):
    """As in `facedeploy compile ... | head -1`."""
    code = (
        "import sys\nfrom types import SimpleNamespace\nfrom facedeploy.cli import main as module\n"
        "def run(arguments):\n    for _ in range(100000):\n        print('a line')\n    return 0\n"
        "fake = SimpleNamespace(DESCRIPTION='', add_arguments=lambda parser: None, run=run)\n"
        "sys.modules['fake_verb'] = fake\nmodule.VERBS['fake'] = module.VerbEntry('fake_verb', '')\n"
        "sys.exit(module.main(['fake']))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0


def test_console_scripts_are_declared(repository):
    if sys.version_info < (3, 11):
        pytest.skip("reading pyproject.toml needs tomllib")
    import tomllib

    scripts = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["scripts"]
    for target in scripts.values():
        name, _, function = target.partition(":")
        assert callable(getattr(__import__(name, fromlist=[function]), function))
    assert set(scripts) == {"facedeploy", "vamc", "vamp"}
    assert module.__name__ == scripts["facedeploy"].partition(":")[0]
    assert os.path.isfile(module.__file__)
