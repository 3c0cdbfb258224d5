"""Choices by measurement, with a clock that says what the test wants."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from facedeploy.compiler.build import compile_model
from facedeploy.compiler.kernels.blocked.candidates import Candidate, Choice, by_model
from facedeploy.compiler.target import Target
from facedeploy.compiler.tuning import stopwatch, tuner
from facedeploy.compiler.tuning.choices_file import ChoicesFile
from facedeploy.compiler.tuning.stopwatch import microseconds_of
from facedeploy.compiler.tuning.tuner import Tuner, tuner_of
from facedeploy.config.build_config import BuildConfig, CompileOptions
from facedeploy.core.errors import CompileError, FacedeployError
from facedeploy.runtime.model import Model

MakeConfig = Callable[..., BuildConfig]
Clock = Callable[[Sequence[Candidate]], list[float]]


def candidate(pixels: int) -> Candidate:
    return Candidate("direct", f"{pixels} pixels", f"because of {pixels}", lambda name: name)


CHOICE = Choice("a kernel", [candidate(6), candidate(4), candidate(2)])


def clock(*microseconds: float) -> Clock:
    return lambda _: list(microseconds)


def broken(_: Sequence[Candidate]) -> list[float]:
    raise AssertionError("nothing should be measured")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights" / "tuning.json"


@pytest.fixture
def tune(path: Path) -> Callable[..., tuple[Candidate, str]]:
    def run(by: Clock, choice: Choice = CHOICE, setting: str = "this machine") -> tuple[Candidate, str]:
        return Tuner(ChoicesFile(path, setting), by, lambda _: None)(choice)

    return run


def test_fastest_is_taken_and_the_reason_has_its_figures(tune: Callable[..., tuple[Candidate, str]]) -> None:
    chosen, reason = tune(clock(870, 900, 812))
    assert chosen is CHOICE.candidates[2]
    assert reason == "measured: direct, 2 pixels 812 us, against 870 us of the model's choice"


def test_model_s_choice_stays_unless_another_is_clearly_faster(tune: Callable[..., tuple[Candidate, str]]) -> None:
    chosen, reason = tune(clock(100, 98, 97.5))
    assert chosen is CHOICE.candidates[0]
    assert reason.startswith("because of 6; measured: direct, 6 pixels 100 us, against 98 us of")
    assert tune(clock(100, 96, 98), replace(CHOICE, specification="another"))[0] is CHOICE.candidates[1]


def test_only_candidate_is_not_measured(tune: Callable[..., tuple[Candidate, str]], path: Path) -> None:
    only = Choice("a kernel", [candidate(3)])
    assert tune(broken, only) == by_model(only) == (only.candidates[0], "because of 3")
    assert not path.exists()


def test_what_was_measured_is_read_again(tune: Callable[..., tuple[Candidate, str]], path: Path) -> None:
    first = tune(clock(870, 900, 812))
    before = path.read_bytes()
    assert tune(broken) == first
    assert path.read_bytes() == before
    (measured,) = json.loads(before)["settings"]["this machine"].values()
    assert list(measured["microseconds"].values()) == [870, 900, 812]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("other", ["setting", "specification", "candidates"])
def test_what_was_measured_holds_for_the_same_candidates_in_the_same_setting(
    tune: Callable[..., tuple[Candidate, str]], other: str
) -> None:
    first = tune(clock(870, 900, 812))
    changed = {
        "setting": {"setting": "another machine"},
        "specification": {"choice": replace(CHOICE, specification="another kernel")},
        "candidates": {"choice": Choice("a kernel", [candidate(6), candidate(5), candidate(2)])},
    }[other]
    chosen, reason = tune(clock(5, 4, 7), **changed)
    assert chosen.sizes == ("5 pixels" if other == "candidates" else "4 pixels")
    assert "4 us, against 5 us" in reason
    assert tune(broken, **changed) == (chosen, reason)
    if other != "candidates":  # The same kernel has one entry.
        assert tune(broken) == first


def test_measurements_of_two_compilations_at_once_are_both_kept(path: Path) -> None:
    tuners = [Tuner(ChoicesFile(path, "this machine"), clock(3, 2, 1), lambda _: None) for _ in range(2)]
    for index, each in enumerate(tuners):
        each(replace(CHOICE, specification=str(index)))
    assert set(json.loads(path.read_text())["settings"]["this machine"]) == {"0", "1"}


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"schema": 2, "settings": {}}',
        b'{"schema": 1, "settings": {"this machine": {"a kernel": {"choice": "x"}}}}',
        b'{"schema": 1, "settings": {"this machine": {"a kernel": {"choice": "x", "microseconds": {"x": "y"}}}}}',
    ],
    ids=["cut off", "no text", "list", "other schema", "key missing", "text as number"],
)
def test_damaged_file_is_one_sentence_and_stays(
    tune: Callable[..., tuple[Candidate, str]], path: Path, content: bytes
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CompileError) as caught:
        tune(clock(3, 2, 1))
    message = str(caught.value)
    assert message.startswith(f"{path}: is not a file of measured choices (")
    assert message.endswith("): delete it, or set backend.tune false")
    assert "\n" not in message
    assert path.read_bytes() == content


def test_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "tuning.json"
    with pytest.raises(CompileError, match=r"choose another workspace\.path, or set backend\.tune false") as caught:
        Tuner(ChoicesFile(path, "this machine"), clock(3, 2, 1), lambda _: None)(CHOICE)
    assert str(caught.value).startswith(str(path))


def test_target_that_this_machine_cannot_run_is_one_sentence(target: Target) -> None:
    foreign = replace(target, name="tomorrow", features=(*target.features, "avx1024"))
    with pytest.raises(CompileError) as caught:
        microseconds_of(CHOICE.candidates, foreign, 1)
    assert str(caught.value) == (
        "backend.tune: the target tomorrow has features that this CPU lacks (avx1024), so that its kernels cannot be "
        "measured here: compile on such a machine, or set backend.tune false"
    )


@pytest.fixture
def net(make_graph: Callable[..., onnx.ModelProto], tmp_path: Path) -> Path:
    """A dense 3x3 convolution that Winograd's algorithm takes, one that it does not take, and a separable one."""
    rng = np.random.default_rng(0)
    shapes = {"first": (16, 3, 3, 3), "dense": (32, 16, 3, 3), "odd": (32, 32, 1, 3), "depth": (32, 1, 3, 3)}
    shapes["point"] = (48, 32, 1, 1)
    weights = {name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    pads = {"first": [1] * 4, "dense": [1] * 4, "odd": [0, 1, 0, 1], "depth": [1] * 4, "point": [0] * 4}
    nodes, tensor = [], "input"
    for name in shapes:
        group = 32 if name == "depth" else 1
        nodes.append(helper.make_node("Conv", [tensor, name], [f"{name}_out"], pads=pads[name], group=group))
        tensor = f"{name}_out"
    path = tmp_path / "net.onnx"
    onnx.save(make_graph(nodes, [tensor], weights, (1, 3, 8, 12)), path)
    return path


@pytest.fixture
def tuned(net: Path, make_config: MakeConfig, tmp_path: Path) -> BuildConfig:
    config = make_config(net, tmp_path / "weights", (1, 3, 8, 12))
    return replace(config, backend=replace(config.backend, tune=True))


def test_compiled_model_is_measured_once_and_computes_the_same(
    tuned: BuildConfig,
    net: Path,
    run_onnx: Callable[..., dict[str, np.ndarray]],
    check_close: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[str] = []
    artifact = compile_model(tuned, lines.append)
    told = [line for line in lines if line.startswith("backend.tune: ")]
    assert len(told) == 3
    reasons = [kernel.reason for kernel in artifact.manifest.base.kernels]
    assert ["measured: " in reason for reason in reasons] == [False, True, True, True]
    image = np.random.default_rng(1).random((1, 3, 8, 12), np.float32)
    check_close(Model.open(artifact.prefix).infer(image), run_onnx(net, image))

    monkeypatch.setattr(tuner, "microseconds_of", lambda *_, **__: broken(()))
    again = compile_model(tuned, lines.append)
    assert [kernel.reason for kernel in again.manifest.base.kernels] == reasons


@pytest.mark.parametrize("index", [1, -1])
def test_other_candidates_than_the_model_s_compute_the_same(
    tuned: BuildConfig,
    net: Path,
    index: int,
    run_onnx: Callable[..., dict[str, np.ndarray]],
    check_close: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fastest_at(candidates: Sequence[Candidate], **_: object) -> list[float]:
        times = [2.0] * len(candidates)
        times[index] = 1.0
        return times

    monkeypatch.setattr(tuner, "microseconds_of", fastest_at)
    artifact = compile_model(tuned)
    reasons = [kernel.reason for kernel in artifact.manifest.base.kernels if kernel.reason.startswith("measured: ")]
    assert len(reasons) == 3
    assert reasons[0].startswith("measured: winograd" if index == 1 else "measured: direct")
    image = np.random.default_rng(1).random((1, 3, 8, 12), np.float32)
    check_close(Model.open(artifact.prefix).infer(image), run_onnx(net, image))


def test_untuned_model_measures_and_writes_no_choices(tuned: BuildConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner, "microseconds_of", lambda *_, **__: broken(()))
    artifact = compile_model(replace(tuned, backend=replace(tuned.backend, tune=False)))
    assert not any("measured" in kernel.reason for kernel in artifact.manifest.base.kernels)
    assert not (Path(tuned.workspace.path) / "tuning.json").exists()


def test_model_for_a_machine_unlike_this_one_is_refused(tuned: BuildConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "host_features", lambda: {"sse2": True})
    with pytest.raises(FacedeployError, match=r"^backend.tune: the target \S+ has features that this CPU lacks \(avx"):
        compile_model(tuned)
    assert not Path(tuned.workspace.path).exists()


def test_setting_names_the_target_its_features_and_threads(tuned: BuildConfig, target: Target) -> None:
    def setting(config: BuildConfig) -> str:
        return tuner_of(config, target, lambda _: None).file.setting

    two = replace(tuned, backend=replace(tuned.backend, compile=CompileOptions(threads=2)))
    assert f"{target.name}, {target.triple}, 1 threads" in setting(tuned)
    assert "2 threads" in setting(two)
    assert setting(tuned).endswith(" ".join(target.features))
