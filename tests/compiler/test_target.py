"""A target by name: what its code may use, and the errors."""

import pytest

from facedeploy.compiler import target as module
from facedeploy.compiler.target import DOT_PRODUCTS, INCLUDES, LEVELS, host_features, resolve_target
from facedeploy.core.errors import CompileError


def test_host_is_the_best_level_whose_features_the_cpu_has() -> None:
    resolved, has = resolve_target("host"), host_features()
    assert all(has[feature] for feature in resolved.features)
    fitting = [level for level, needs in LEVELS.items() if all(has.get(need, False) for need in needs)]
    assert resolved.name == (fitting[0] if fitting else "host")


@pytest.mark.parametrize(
    ("lacking", "level", "lanes"),
    [((), "x86-64-v4", 16), (("avx512vl",), "x86-64-v3", 8), (("avx512f", "bmi2"), "x86-64-v2", 4), (("cx16",), "", 4)],
)
def test_host_steps_down_a_level_for_each_feature_that_a_cpu_lacks(
    monkeypatch: pytest.MonkeyPatch, lacking: tuple[str, ...], level: str, lanes: int
) -> None:
    names = host_features()
    older = {"avx512vl": (), "avx512f": (), "bmi2": (), "cx16": ("bmi2", "avx512f")}
    missing = {*lacking, *(name for each in lacking for name in older[each])}
    monkeypatch.setattr(module, "host_features", lambda: {name: name not in missing for name in names})
    resolved = resolve_target("host")
    assert resolved.name == (level or "host")
    assert resolved.float32_lanes == lanes


@pytest.mark.parametrize(
    ("has", "name"),
    [
        ({"amx-int8", "amx-tile", "avx512vnni", "avxvnni"}, "x86-64-v4+amx-int8"),
        ({"amx-int8", "avx512vnni"}, "x86-64-v4+avx512vnni"),  # A system that hides the tiles.
        ({"avx512vnni", "avxvnni"}, "x86-64-v4+avx512vnni"),
        ({"avxvnni"}, "x86-64-v4"),
        (set(), "x86-64-v4"),
        ({"avxvnni", "no avx512f"}, "x86-64-v3+avxvnni"),
    ],
)
def test_host_has_the_dot_products_of_its_level_where_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, has: set[str], name: str
) -> None:
    features = dict.fromkeys([need for needs in LEVELS.values() for need in needs], True)
    features |= {name: name in has for name in ("amx-int8", "amx-tile", "avx512vnni", "avxvnni")}
    features |= {"avx512f": "no avx512f" not in has}
    monkeypatch.setattr(module, "host_features", lambda: features)
    resolved = resolve_target("host", dot_products=True)
    assert resolved.name == name
    assert resolve_target("host").name == name.partition("+")[0]
    assert resolve_target(name).features == resolved.features


@pytest.mark.parametrize(
    ("level", "feature"), [(level, feature) for level, features in DOT_PRODUCTS.items() for feature in features]
)
def test_dot_products_are_a_feature_of_the_target(level: str, feature: str) -> None:
    assert {feature, *INCLUDES.get(feature, ())} <= set(resolve_target(f"{level}+{feature}").features)
    assert feature not in resolve_target(level).features
    with pytest.raises(CompileError, match="expected host"):
        resolve_target(f"{level}+avx512fp16")


@pytest.mark.parametrize(("level", "lanes"), [("x86-64-v2", 4), ("x86-64-v3", 8), ("x86-64-v4", 16)])
def test_level_has_the_features_that_define_it_and_no_wider_vectors(level: str, lanes: int) -> None:
    resolved = resolve_target(level)
    assert resolved.name == level
    assert resolved.float32_lanes == lanes
    emitted = [need for need in LEVELS[level] if need not in ("cx16", "sahf")]
    assert set(emitted) <= set(resolved.features)
    assert ("avx512f" in resolved.features) == (lanes == 16)
    assert ("avx2" in resolved.features) == (lanes >= 8)


def test_features_are_what_code_may_contain_sorted() -> None:
    features = resolve_target('{"kind": "llvm", "mcpu": "sapphirerapids"}').features
    assert list(features) == sorted(features)
    assert {"amx-tile", "avx512vnni", "avx512fp16", "gfni"} <= set(features)
    # Neither tuning flags nor what generated code never contains, which a virtual machine may hide.
    assert not {"64bit", "fsgsbase", "rdrnd", "xsave", "sgx", "clflushopt", "macrofusion"} & set(features)


def test_json_target_is_named_as_it_was_written() -> None:
    text = '{"kind": "llvm", "mcpu": "haswell", "mattr": ["-fma"]}'
    resolved = resolve_target(text)
    assert resolved.name == text
    assert resolved.float32_lanes == 8
    assert "fma" not in resolved.features


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "expected host, x86-64-v4, x86-64-v3, x86-64-v2, or a tvm llvm target as JSON"),
        ("haswell", "got 'haswell', expected host"),
        ("X86-64-V3", "expected host"),
        ('{"kind": "llvm"', "expected host"),
        ('{"kind": "cuda"}', "expected host"),
        ("[]", "expected host"),
        ("[" * 100_000, "expected host"),
        ('{"kind": "llvm", "mcpu": "nocpu"}', "LLVM does not know the CPU 'nocpu' for x86_64"),
        ('{"kind": "llvm", "mcpu": 5}', "Option 'mcpu': expected type 'str' but got 'int'"),
        ('{"kind": "llvm", "cpu": "haswell"}', "Unknown config option 'cpu'"),
        ('{"kind": "llvm", "mattr": "avx"}', "Option 'mattr'"),
        ('{"kind": "llvm", "mtriple": "nowhere"}', "is for the architecture nowhere"),
        ('{"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "haswell"}', "is for the architecture aarch64"),
    ],
)
def test_target_that_is_none_is_one_sentence(name: str, said: str) -> None:
    with pytest.raises(CompileError) as caught:
        resolve_target(name)
    message = str(caught.value)
    assert message.startswith("backend.target: ")
    assert said in message
    assert "\n" not in message


def test_json_target_without_a_cpu_uses_what_every_x86_64_has() -> None:
    resolved = resolve_target('{"kind": "llvm"}')
    assert resolved.vector_bits == 128
    assert "avx" not in resolved.features
