import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facedeploy.artifact.manifest import Manifest, manifest_from_json
from facedeploy.artifact.store import Artifact, file_sha256, open_artifact, save_artifact
from facedeploy.core.errors import ArtifactError

Save = Callable[..., Artifact]
FILES = ["mod.json", "mod.params", "mod.so"]


def refusal(prefix: Path | str) -> str:
    """The message of the error that opening raises: one short line."""
    with pytest.raises(ArtifactError) as caught:
        open_artifact(prefix)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_saved_artifact_opens_as_it_was_saved(artifact: Artifact) -> None:
    assert sorted(listing(artifact.prefix.parent)) == FILES
    opened = open_artifact(artifact.prefix)
    assert opened == artifact
    assert (opened.code, opened.params) == (
        artifact.prefix.with_name("mod.so"),
        artifact.prefix.with_name("mod.params"),
    )
    for name, entry in opened.manifest.files.items():
        content = artifact.prefix.with_name(name).read_bytes()
        assert (entry.size, entry.sha256) == (len(content), file_sha256(artifact.prefix.with_name(name)))


@pytest.mark.parametrize("form", ["mod", "", "mod.so", "mod.params", "mod.json", "./mod", "../net/mod"])
def test_prefix_may_be_the_folder_or_a_file(artifact: Artifact, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = artifact.prefix.parent
    assert open_artifact(folder / form).manifest == artifact.manifest
    assert open_artifact(f"{folder}/{form}").manifest == artifact.manifest
    monkeypatch.chdir(folder)
    assert open_artifact(form).manifest == artifact.manifest


@pytest.mark.parametrize("form", ["net", "mod.onnx", "model", "mod.so.bak", "mod.JSON"])
def test_path_that_is_no_prefix_says_what_one_is(artifact: Artifact, form: str) -> None:
    message = refusal(artifact.prefix.with_name(form))
    assert message.endswith("a prefix ends with /mod, as in deploy_weights/<name>/mod")


def test_missing_artifact_tells_what_is_there(tmp_path: Path) -> None:
    assert "(no such folder)" in refusal(tmp_path / "none" / "mod")
    assert "(the folder has nothing)" in refusal(tmp_path / "mod")
    (tmp_path / "net").mkdir()
    message = refusal(tmp_path / "mod")
    assert (
        f"no artifact at {tmp_path / 'mod'}: there is no file {tmp_path / 'mod.json'} (the folder has net)" in message
    )
    assert "<workspace.path>/<name>/mod" in message


@pytest.mark.parametrize("name", ["mod.so", "mod.params"])
def test_missing_file_is_named(artifact: Artifact, name: str) -> None:
    artifact.prefix.with_name(name).unlink()
    message = refusal(artifact.prefix)
    assert f"there is no file {artifact.prefix.with_name(name)} beside mod.json: copy all three files" in message


@pytest.mark.parametrize("name", FILES)
def test_folder_in_place_of_a_file(artifact: Artifact, name: str) -> None:
    artifact.prefix.with_name(name).unlink()
    artifact.prefix.with_name(name).mkdir()
    assert f"there is no file {artifact.prefix.with_name(name)}" in refusal(artifact.prefix)


@pytest.mark.parametrize("name", ["mod.so", "mod.params"])
@pytest.mark.parametrize("length", [0, 1, -1])
def test_cut_file_is_named_with_both_sizes(artifact: Artifact, name: str, length: int) -> None:
    file = artifact.prefix.with_name(name)
    content = file.read_bytes()
    file.write_bytes(content[:length])
    message = refusal(artifact.prefix)
    assert f"{file} has {len(content[:length])} bytes, mod.json says {len(content)}" in message
    file.write_bytes(content + b"\0")
    assert f"has {len(content) + 1} bytes" in refusal(artifact.prefix)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.sampled_from(["mod.so", "mod.params"]), place=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_changed_byte_is_found(artifact: Artifact, name: str, place: int, flip: int) -> None:
    file = artifact.prefix.with_name(name)
    content = file.read_bytes()
    damaged = bytearray(content)
    damaged[place % len(content)] ^= flip
    try:
        file.write_bytes(damaged)
        assert f"{file} is damaged or from another build" in refusal(artifact.prefix)
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"[]", b"{}", b"{", b"\0" * 100, b"\x7fELF", b'{"schema": 1}', b'{"schema": 99}']
)
def test_manifest_that_is_none_is_named(artifact: Artifact, content: bytes) -> None:
    file = artifact.prefix.with_name("mod.json")
    file.write_bytes(content)
    assert refusal(artifact.prefix).startswith(str(file))


@pytest.mark.parametrize("name", ["mod.so", "mod.params"])
def test_manifest_that_lists_no_such_file(artifact: Artifact, name: str) -> None:
    file = artifact.prefix.with_name("mod.json")
    data = json.loads(file.read_text())
    del data["files"][name]
    file.write_text(json.dumps(data))
    assert f"{file} does not list {name}" in refusal(artifact.prefix)


def test_files_of_two_builds_do_not_go_together(artifact: Artifact, save: Save, tmp_path: Path) -> None:
    other = save(tmp_path / "other", {"mod.so": b"\x7fELF and so on" * 100, "mod.params": bytes(256) * 40})
    other.params.replace(artifact.params)
    assert "is damaged or from another build" in refusal(artifact.prefix)


@pytest.mark.parametrize("name", FILES)
def test_file_that_cannot_be_read_is_one_sentence(
    artifact: Artifact, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = "read_text" if name == "mod.json" else "open"
    read = getattr(Path, method)

    def refuse(self: Path, *options: str, **named: str) -> object:
        if self.name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read(self, *options, **named)

    monkeypatch.setattr(Path, method, refuse)
    assert "cannot be read (Permission denied)" in refusal(artifact.prefix)


def test_path_that_no_file_system_takes_is_one_sentence(tmp_path: Path) -> None:
    assert "cannot be read (File name too long)" in refusal(tmp_path / ("a" * 300) / "mod")


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("error", [RuntimeError, Interrupted, KeyboardInterrupt])
@pytest.mark.parametrize("failing", ["mod.so", "mod.params"])
def test_writer_that_fails_leaves_the_artifact_as_it_was(
    artifact: Artifact, manifest: Manifest, failing: str, error: type[BaseException]
) -> None:
    before = listing(artifact.prefix.parent)

    def write(path: Path) -> None:
        path.write_bytes(b"half")
        if name_of[path.suffix] == failing:
            raise error

    name_of = {".so": "mod.so", ".params": "mod.params"}
    with pytest.raises(error):
        save_artifact(artifact.prefix.parent, replace(manifest, name="other"), dict.fromkeys(name_of.values(), write))
    assert listing(artifact.prefix.parent) == before
    assert open_artifact(artifact.prefix) == artifact


def test_writer_that_fails_leaves_no_file_where_none_was(manifest: Manifest, tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        save_artifact(tmp_path / "net", manifest, {"mod.so": write, "mod.params": write})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_files_appear_together_and_the_manifest_last(
    artifact: Artifact, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, renamed = listing(artifact.prefix.parent), []
    replace_file = Path.replace

    def write(path: Path) -> None:
        path.write_bytes(b"new")
        assert {name: data for name, data in listing(artifact.prefix.parent).items() if name in FILES} == before

    def spy(self: Path, target: Path) -> Path:
        renamed.append(Path(target).name)
        return replace_file(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    saved = save_artifact(artifact.prefix.parent, manifest, {"mod.so": write, "mod.params": write})
    assert sorted(renamed) == FILES
    assert renamed[-1] == "mod.json"
    assert sorted(listing(artifact.prefix.parent)) == FILES
    assert open_artifact(artifact.prefix) == saved


def test_folder_that_cannot_be_written_is_one_sentence(save: Save, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError) as caught:
        save(tmp_path / "file" / "net")
    assert str(caught.value) == f"{tmp_path / 'file' / 'net'}: cannot be written (Not a directory): " + (
        "choose another workspace.path"
    )


def test_manifest_on_disk_is_text_for_people(artifact: Artifact) -> None:
    text = artifact.prefix.with_name("mod.json").read_text(encoding="utf-8")
    assert len(text.splitlines()) > 50
    assert text.endswith("}\n")
    assert manifest_from_json(text, "mod.json") == artifact.manifest


def test_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a" * 10**6)  # A test vector of FIPS 180.
    assert file_sha256(tmp_path / "file") == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
