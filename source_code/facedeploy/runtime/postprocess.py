"""The compiled post-processing, ready to be called."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.core.nms_params import NmsParams
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.detect.slots import Slots
from facedeploy.runtime.entry import REFUSALS
from facedeploy.runtime.input_array import InputArray
from facedeploy.runtime.memory import aligned
from facedeploy.runtime.results import Pool

FLOAT_BYTES = 4


class PostProcess:
    """Outputs of a model -> slots, with the thresholds of `params`. Threads may call it side by side."""

    def __init__(self, function: Any, heads: Sequence[TensorSpec], params: NmsParams, of: object) -> None:
        """`heads` are the outputs that `function` takes, in its order; `of` is what errors call the artifact."""
        self.params = params
        self._function, self._heads, self._of = function, heads, of
        self._names = tuple(head.name for head in heads)
        self._thresholds = params.confidence_threshold, params.nms_threshold
        landmarks = heads[2].shape[2:] if len(heads) == len(Slots._fields) else ()
        widths = zip(Slots._fields, (1, 4, *landmarks), strict=False)  # Those that there are.
        shape = heads[0].shape[0], params.max_detections
        self._slots = Pool([TensorSpec(name, (*shape, width), "float32") for name, width in widths], memory=aligned)
        self._none = () if landmarks else (np.empty((*shape, 0), np.float32),)

    def __call__(self, outputs: Mapping[str, npt.NDArray[np.float32]]) -> Slots:
        """Decode, threshold, suppress. Raises KeyError for an output that is missing, ShapeError for another shape."""
        arrays = [outputs[name] for name in self._names]
        slots, tensors = self._slots.take()
        try:
            self._function(*arrays, *self._thresholds, *tensors)
        except REFUSALS:  # As Entry has it: the function checks its arguments, and only we can copy them.
            inputs = (InputArray(head, FLOAT_BYTES, self._of) for head in self._heads)
            readable = [each.readable(array) for each, array in zip(inputs, arrays, strict=True)]
            self._function(*readable, *self._thresholds, *tensors)
        return Slots(*slots, *self._none)
