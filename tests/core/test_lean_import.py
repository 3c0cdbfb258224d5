"""`lean_import` hides one module from another, and from nobody else."""

import sys
from pathlib import Path

import pytest

from facedeploy.core.lean_import import lean_import


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heavy_one.py").write_text("")
    (tmp_path / "light_one.py").write_text(
        "try:\n    import heavy_one\nexcept ImportError:\n    heavy_one = None\nfound = heavy_one is not None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("heavy_one", "light_one"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_module_is_hidden_while_another_loads_and_importable_afterwards(packages: None) -> None:
    lean_import("light_one", without="heavy_one")
    assert not sys.modules["light_one"].found
    import heavy_one  # type: ignore[import-not-found]

    assert heavy_one is sys.modules["heavy_one"]


def test_module_that_is_loaded_already_stays(packages: None) -> None:
    import heavy_one

    lean_import("light_one", without="heavy_one")
    assert sys.modules["light_one"].found
    assert sys.modules["heavy_one"] is heavy_one


def test_failed_import_leaves_nothing_hidden(packages: None) -> None:
    with pytest.raises(ImportError):
        lean_import("no_such_module_at_all", without="heavy_one")
    assert "heavy_one" not in sys.modules
