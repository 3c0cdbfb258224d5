"""A few hundred of the mutations that tests/bench/fuzz_configs.py makes by the ten thousand."""

import pytest
from formats import all_formats
from judge import judge, mutation, unclear

EACH = 40
NAMES = (
    "build YAML", "--set", "vdsp JSON", "mod.json", "run.journal", "tuning.json", "range cache", "predictions",
    "wider_face_val.mat", "wider_hard_val.mat", "image list", "npz list", "input npz", "output npz",
    "FDDB results", "FDDB ellipses", "FDDB fold",
    "MXNet symbol", "MXNet params", "prototxt", "caffemodel", "calibration table",
)  # fmt: skip


@pytest.fixture(scope="module")
def formats(tmp_path_factory, tiny_artifact, repository):
    return all_formats(tmp_path_factory.mktemp("fuzz"), tiny_artifact.prefix, repository)


def test_every_format_has_mutations(formats):
    assert tuple(formats) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_valid_file_loads(formats, name):
    each = formats[name]
    for sample in each.samples:
        if not callable(sample):
            verdict = judge(each, sample)
            assert verdict.kind == "loads", verdict.said


@pytest.mark.parametrize("name", NAMES)
def test_mutated_file_loads_or_is_refused_in_one_clear_sentence(formats, name):
    each = formats[name]
    verdicts = []
    for index in range(EACH):
        damages, content = mutation(each, 1, index)
        verdict = judge(each, content)
        assert verdict.kind in {"loads", "refused"}, f"{index}, {damages}: {verdict}"
        verdicts.append(verdict.kind)
    if name != "range cache":  # Which is made anew.
        assert "refused" in verdicts


def test_same_numbers_are_the_same_mutation(formats):
    each = formats["build YAML"]
    assert [mutation(each, 3, index) for index in range(20)] == [mutation(each, 3, index) for index in range(20)]
    assert mutation(each, 3, 1) != mutation(each, 4, 1)


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ("{path}: is empty", ""),
        ("{path}: 2 problems\n  a: is missing\n  b: is missing", ""),
        ("is empty", "names no file"),
        ("{path}: a\nb", "not one line"),
        ("{path}: 2 problems\na\n  b", "not one line"),
        ("{path}: \x1b[31m", "not printable"),
        ("{path}: " + "x" * 1000, "long line"),
        ("{path}: 50 problems" + "\n  a: is missing" * 50, "too many lines"),
        ("{path}: unsupported operand for NoneType", "internal"),
    ],
)
def test_oracle_tells_a_clear_sentence_from_another(formats, message, wrong):
    each = formats["vdsp JSON"]
    assert unclear(message.format(path=each.path), each) == wrong
