"""The compiled model: numpy in, numpy out, and clear sentences for the rest."""

import hashlib
import os
import shutil
import threading

import numpy as np
import pytest
import tvm

from facedeploy.core.errors import ArtifactError, DeviceError, ShapeError
from facedeploy.core.nms_params import NmsParams
from facedeploy.detect.slots import head_slots
from facedeploy.image import operations
from facedeploy.runtime.model import Model


@pytest.fixture(scope="module")
def model(tiny_artifact):
    return Model.open(tiny_artifact.prefix)


@pytest.fixture(scope="module")
def canvases():
    return np.random.default_rng(2).integers(0, 256, (6, 1, 96, 128, 3), np.uint8)


def normalized(model, canvas):
    return np.stack([operations.normalize(image, model.manifest.normalization) for image in canvas])


def one_sentence(error):
    text = str(error.value)
    assert len(text.splitlines()) == 1
    return text


def test_outputs_are_those_of_onnxruntime(model, tiny_artifact, canvases):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(tiny_artifact.onnx), providers=["CPUExecutionProvider"])
    tensor = normalized(model, canvases[0])
    outputs = model.infer(tensor)
    assert list(outputs) == ["loc", "conf", "landms"]
    for got, expected in zip(outputs.values(), session.run(None, {"input": tensor}), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_pixels_entry_equals_the_float_entry_to_the_bit(model, canvases):
    for canvas in canvases:
        by_pixels, by_tensor = model.infer_pixels(canvas), model.infer(normalized(model, canvas))
        for name in by_tensor:
            np.testing.assert_array_equal(by_pixels[name], by_tensor[name])


def test_detect_equals_the_numpy_oracle(model, canvases):
    manifest = model.manifest
    outputs = model.infer_pixels(canvases[0])
    for nms in (None, NmsParams(0.3, 0.2, 7)):
        slots = model.detect(outputs, nms)
        expected = head_slots(*outputs.values(), manifest.postprocess.head, (96, 128), nms or manifest.postprocess.nms)
        for got, wanted in zip(slots, expected, strict=True):
            assert got.shape == wanted.shape
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-3)
        assert (slots.scores != -1).sum() > 5


def test_results_are_not_overwritten_by_later_calls(model, canvases):
    first = model.infer_pixels(canvases[0])
    slots = model.detect(first)
    kept = {name: array.copy() for name, array in first.items()}
    kept_slots = [part.copy() for part in slots]
    for canvas in canvases[1:]:
        model.detect(model.infer_pixels(canvas))
        model.infer(normalized(model, canvas))
    for name, array in kept.items():
        np.testing.assert_array_equal(first[name], array)
    for part, copy in zip(slots, kept_slots, strict=True):
        np.testing.assert_array_equal(part, copy)


def test_input_is_neither_kept_nor_changed(model, canvases):
    tensor = normalized(model, canvases[0])
    copy = tensor.copy()
    before = {name: array.copy() for name, array in model.infer(tensor).items()}
    np.testing.assert_array_equal(tensor, copy)
    strided = np.asfortranarray(tensor)
    tensor[...] = 0
    for name, array in model.infer(strided).items():
        np.testing.assert_array_equal(array, before[name])


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def misaligned(array):
    memory = np.zeros(array.nbytes + 1, np.uint8)
    odd = memory[1:].view(array.dtype).reshape(array.shape)
    odd[...] = array
    return odd


LAYOUTS = {
    "columns first": np.asfortranarray,
    "channels last": lambda array: np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "backwards": lambda array: np.ascontiguousarray(array[:, ::-1])[:, ::-1],
    "part of a wider one": lambda array: np.concatenate([array, array], axis=3)[..., : array.shape[3]],
    "one row for all": lambda array: np.broadcast_to(array[:, :, :1], array.shape),
    "read-only": read_only,
    "at an odd address": misaligned,
    "a subclass": lambda array: array.view(np.ma.MaskedArray),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_array_is_read_however_it_lies_in_memory(model, canvases, layout):
    tensor = LAYOUTS[layout](normalized(model, canvases[0]))
    expected = model.infer(np.array(tensor, order="C"))
    for name, array in model.infer(tensor).items():
        np.testing.assert_array_equal(array, expected[name])
    pixels = LAYOUTS[layout](canvases[0])
    expected = model.infer_pixels(np.array(pixels, order="C"))
    for name, array in model.infer_pixels(pixels).items():
        np.testing.assert_array_equal(array, expected[name])


@pytest.mark.parametrize(
    ("shape", "dtype", "got"),
    [
        ((1, 3, 96, 128), ">f4", r">f4\[1, 3, 96, 128\]"),
        ((1, 3, 96, 96), np.float32, r"float32\[1, 3, 96, 96\]"),
        ((2, 3, 96, 128), np.float32, r"float32\[2, 3, 96, 128\]"),
        ((3, 96, 128), np.float32, r"float32\[3, 96, 128\]"),
        ((1, 96, 128, 3), np.float32, r"float32\[1, 96, 128, 3\]"),
        ((1, 3, 96, 128), np.float64, r"float64\[1, 3, 96, 128\]"),
        ((1, 3, 96, 128), np.uint8, r"uint8\[1, 3, 96, 128\]"),
    ],
)
def test_infer_refuses_another_size_and_names_the_one_it_holds(model, shape, dtype, got):
    with pytest.raises(
        ShapeError, match=rf"input: got {got}; .*/mod holds one size: float32\[1, 3, 96, 128\]"
    ) as error:
        model.infer(np.zeros(shape, dtype))
    one_sentence(error)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 96, 128, 3), np.float32), ((1, 3, 96, 128), np.uint8), ((96, 128, 3), np.uint8)]
)
def test_infer_pixels_refuses_another_size_and_names_the_one_it_holds(model, shape, dtype):
    with pytest.raises(ShapeError, match=r"holds one size: uint8\[1, 96, 128, 3\]") as error:
        model.infer_pixels(np.zeros(shape, dtype))
    one_sentence(error)


def test_detect_refuses_outputs_that_are_not_this_artifacts(model, canvases):
    outputs = model.infer_pixels(canvases[0])
    with pytest.raises(ShapeError, match=r"got outputs loc; .*/mod decodes loc, conf, landms"):
        model.detect({"loc": outputs["loc"]})
    with pytest.raises(ShapeError, match=r"conf: got float32\[1, 504, 4\]; .* float32\[1, 504, 2\]"):
        model.detect({**outputs, "conf": outputs["loc"]})
    model.detect(outputs)


def test_unknown_device_is_an_error_that_lists_the_devices(tiny_artifact):
    with pytest.raises(DeviceError, match=r"device: got 3; the devices here: 0 \("):
        Model.open(tiny_artifact.prefix, device=3)


def test_missing_cpu_feature_is_one_sentence(edited):
    prefix = edited(lambda manifest: manifest["target"].update(name="x86-64-v9", features=["avx2048", "sse2"]))
    with pytest.raises(
        DeviceError, match="compiled for x86-64-v9 and needs avx2048, which this CPU lacks: compile"
    ) as error:
        Model.open(prefix)
    one_sentence(error)


def test_other_architecture_is_one_sentence(edited):
    prefix = edited(lambda manifest: manifest["target"].update(triple="riscv64-unknown-linux-gnu", features=[]))
    with pytest.raises(DeviceError, match=r"is for riscv64, this machine is .*: compile it for this machine") as error:
        Model.open(prefix)
    one_sentence(error)


def test_artifact_without_post_processing_or_normalization_says_what_it_lacks(edited, canvases):
    model = Model.open(edited(lambda manifest: manifest.update(postprocess=None, normalization=None)))
    with pytest.raises(ArtifactError, match=r"compiled without dataset\.process_ops"):
        model.infer_pixels(canvases[0])
    outputs = model.infer(np.zeros((1, 3, 96, 128), np.float32))
    with pytest.raises(ArtifactError, match=r"compiled without graph\.extra_ops"):
        model.detect(outputs)


def test_weights_that_are_not_stored_as_the_manifest_says_are_one_sentence(edited):
    prefix = edited(lambda manifest: manifest["weights"].update(dtype="float16"))
    with pytest.raises(ArtifactError, match=r"json does not say how to read mod\.params \(mod\.params has") as error:
        Model.open(prefix)
    one_sentence(error)


def test_an_artifact_compiled_again_to_the_same_place_is_the_new_one(compile_tiny, tiny_artifact, tmp_path):
    """The loader of libraries would give the code that it had loaded from that path."""
    other = compile_tiny(2)
    prefix = tmp_path / "net" / "mod"
    shutil.copytree(tiny_artifact.prefix.parent, prefix.parent)
    image = np.ones((1, 3, 96, 128), np.float32)
    before = Model.open(prefix)
    expected = before.infer(image)
    for file in other.prefix.parent.iterdir():
        shutil.copy(file, tmp_path / "new")
        (tmp_path / "new").rename(prefix.parent / file.name)
    after = Model.open(prefix)
    assert after.batch == 2
    got = after.infer(np.repeat(image, 2, axis=0))
    for name, array in expected.items():
        assert np.allclose(got[name], np.repeat(array, 2, axis=0), atol=1e-4)
        assert np.array_equal(before.infer(image)[name], array)


def test_code_that_is_no_library_is_one_sentence(edited):
    """Such as a build for another system; a damaged file is found before, by its hash."""
    content = b"not a library"
    entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    prefix = edited(lambda manifest: manifest["files"].update({"mod.so": entry}))
    prefix.with_name("mod.so").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"mod.so cannot be loaded \(.*\); it was compiled with tvm 0.27") as error:
        Model.open(prefix)
    one_sentence(error)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["ladder"][0].update(workspace_bytes=64),
        lambda manifest: manifest["ladder"][0]["input"].update(shape=[1, 3, 64, 64]),
        lambda manifest: manifest["ladder"][0]["outputs"][1]["shape"].__setitem__(1, 10),
        lambda manifest: manifest["ladder"][0]["outputs"][1]["shape"].pop(),
        lambda manifest: manifest["ladder"][0]["outputs"][1].update(shape=[2**40, 2**40]),
        lambda manifest: manifest["ladder"][0]["outputs"][1].update(dtype="x"),
        lambda manifest: manifest["postprocess"]["inputs"].reverse(),
    ],
)
def test_manifest_that_its_code_contradicts_is_one_sentence(edited, change):
    """Code checks what it is called with, so that a wrong size is never written past."""
    prefix = edited(change)
    with pytest.raises(
        ArtifactError, match=r"mod.json does not say what mod.so takes \(|mod.so cannot be loaded"
    ) as error:
        model = Model.open(prefix)
        model.detect(model.infer_pixels(np.zeros((1, *model.canvas_hw, 3), np.uint8)))
    one_sentence(error)


@pytest.mark.parametrize("shared", [True, False])
def test_threads_give_identical_results(tiny_artifact, canvases, shared):
    """Four instances, each in its thread; or four threads at one instance."""
    models = Model.open_instances(tiny_artifact.prefix, 1 if shared else 4, threads=1)
    expected = [models[0].detect(models[0].infer_pixels(canvas)) for canvas in canvases]
    wrong = []

    def work(model, first):
        for round_ in range(10):
            index = (first + round_) % len(canvases)
            slots = model.detect(model.infer_pixels(canvases[index]))
            wrong.extend(not np.array_equal(got, want) for got, want in zip(slots, expected[index], strict=True))

    threads = [threading.Thread(target=work, args=(models[number % len(models)], number)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 4 * 10 * 3
    assert not any(wrong)


def test_threads_are_honored_in_every_calling_thread(tiny_artifact, canvases):
    used = tvm.get_global_func("runtime.NumThreads")
    for count in {1, int(os.environ["TVM_NUM_THREADS"])}:
        model = Model.open(tiny_artifact.prefix, threads=count)
        seen = []

        def call(model=model, seen=seen):
            model.infer_pixels(canvases[0])
            seen.append(used())

        for thread in [threading.Thread(target=call) for _ in range(2)]:
            thread.start()
            thread.join()
        call()
        assert [model.threads, *seen] == [count] * 4
