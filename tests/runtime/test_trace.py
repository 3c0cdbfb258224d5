"""One inference, kernel by kernel."""

import numpy as np
import pytest

from facedeploy.core.errors import ShapeError
from facedeploy.runtime.model import Model


@pytest.fixture
def model(tiny_artifact):
    return Model.open(tiny_artifact.prefix, threads=1)


@pytest.fixture
def image(model):
    return np.random.default_rng(0).normal(0, 50, model.manifest.base.input.shape).astype(np.float32)


def test_trace_has_the_kernels_of_the_manifest_in_their_order(model, image):
    trace = model.trace(image)
    assert trace.calls == model.rung.calls
    assert [len(tensors) for tensors in trace.tensors] == [len(call.arguments) for call in trace.calls]


def test_kernels_run_again_compute_the_same(model, image):
    expected = {name: output.copy() for name, output in model.infer(image).items()}
    trace = model.trace(image)
    # The last kernel of this net writes its outputs.
    outputs = [np.from_dlpack(tensor) for tensor in trace.tensors[-1][-len(expected) :]]
    for output in outputs:
        output[:] = -1
    trace.microseconds()
    for output, values in zip(outputs, expected.values(), strict=True):
        np.testing.assert_array_equal(output, values)
        output[:] = -1
    trace.main()
    for output, values in zip(outputs, expected.values(), strict=True):
        np.testing.assert_array_equal(output, values)


def test_every_call_has_its_time_and_the_bytes_of_its_tensors(model, image):
    trace = model.trace(image)
    times = trace.microseconds()
    assert len(times) == len(trace.cost_us) == len(trace.calls)
    assert all(us >= 0 for us in times)
    assert sum(times) > 0
    first = trace.calls[0]
    assert first.bytes == sum(np.from_dlpack(tensor).nbytes for tensor in trace.tensors[0])
    assert first.bytes > image.nbytes


def test_model_works_as_before_after_a_trace(model, image):
    expected = {name: output.copy() for name, output in model.infer(image).items()}
    model.trace(image).microseconds()
    for name, output in model.infer(image).items():
        np.testing.assert_array_equal(output, expected[name])


def test_input_of_another_size_is_refused(model, image):
    with pytest.raises(ShapeError):
        model.trace(image[:, :, 1:])
