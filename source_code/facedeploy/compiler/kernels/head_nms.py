"""The post-processing of a head as one TIR function: decode, threshold, sort, suppress, fill slots.

`facedeploy.detect.slots.head_slots` says what it computes, and is its oracle in the tests.
"""

from typing import Any

import numpy as np
from tvm import tirx
from tvm.script import tirx as T

from facedeploy.compiler.kernels.head_decoder import decoder_of
from facedeploy.compiler.passes.schedule_kernels import KERNEL
from facedeploy.compiler.passes.skip_argument_checks import PUBLIC
from facedeploy.core.head_spec import HeadSpec
from facedeploy.core.nms_params import CANDIDATES
from facedeploy.core.receptive_field_spec import ReceptiveFieldSpec

PASSES, DIGIT_BITS = 3, 11  # That sort the 31 bits of a score.
RADIX = 2**DIGIT_BITS
AT_ONCE = 64  # Boxes that are looked at before asking whether one overlaps.


def head_nms(spec: HeadSpec, canvas_hw: tuple[int, int], batch: int, *, classes: int = 2, points: int = 5) -> Any:
    """Build `<spec.type>(loc, conf, landms, confidence_threshold, nms_threshold, scores, boxes, landmarks)`.

    In: loc (N, P, 4), conf (N, P, classes), of which the last is the face, landms (N, P, 2 points) float32; two float32
    scalars, 0..1. Out, written in place: scores (N, K, 1), boxes (N, K, 4), landmarks (N, K, 2 points) float32, where
    K, the number of slots, is the caller's choice. A head without landmarks, of 0 points, has neither landms nor
    landmarks. Returns a tirx PrimFunc.
    """
    count = spec.count(canvas_hw)
    candidates = min(CANDIDATES, count)
    decoder = decoder_of(spec, canvas_hw)
    finite = float(np.finfo(np.float32).max)
    face, numbers, with_landmarks = classes - 1, 2 * points, points > 0
    covered = isinstance(spec, ReceptiveFieldSpec)  # What counts is how much of the candidate a kept box covers.
    border = 0 if covered else 1  # px that a side counts more, in an area.

    def digit_of(key: Any, turn: Any) -> Any:
        shift = T.Cast("int64", turn * DIGIT_BITS + 32)
        return T.Cast("int32", T.bitwise_and(T.shift_right(key, shift), T.int64(RADIX - 1)))

    @T.prim_func(s_tir=True)
    def kernel(
        loc_handle: T.handle,
        conf_handle: T.handle,
        landms_handle: T.handle,
        confidence_threshold: T.float32,
        nms_threshold: T.float32,
        scores_handle: T.handle,
        boxes_handle: T.handle,
        landmarks_handle: T.handle,
    ):
        T.func_attr({"global_symbol": spec.type, "tirx.noalias": True, KERNEL: spec.type, PUBLIC: True})
        slots = T.int32()
        loc = T.match_buffer(loc_handle, (batch, count, 4), "float32", align=4)
        conf = T.match_buffer(conf_handle, (batch, count, classes), "float32", align=4)
        landms = T.match_buffer(landms_handle, (batch, count, numbers), "float32", align=4)
        scores = T.match_buffer(scores_handle, (batch, slots, 1), "float32")
        boxes = T.match_buffer(boxes_handle, (batch, slots, 4), "float32")
        landmarks = T.match_buffer(landmarks_handle, (batch, slots, numbers), "float32")
        # A key orders by score, the best first; what sorts it keeps the order of priors among equal scores.
        keys = T.alloc_buffer((2, count), "int64")
        kept = T.alloc_buffer((5, candidates), "float32")  # x1, y1, x2, y2, area: one row each, for vector loads
        box = T.alloc_buffer((4,), "float32", scope="local")
        area = T.alloc_buffer((1,), "float32", scope="local")
        usable = T.alloc_buffer((1,), "int32", scope="local")
        found = T.alloc_buffer((1,), "int32", scope="local")
        filled = T.alloc_buffer((1,), "int32", scope="local")
        # How many keys have each digit, then where the next one goes.
        places = T.alloc_buffer((PASSES, RADIX), "int32")
        total = T.alloc_buffer((1,), "int32", scope="local")
        start = T.alloc_buffer((1,), "int32", scope="local")
        overlapped = T.alloc_buffer((1,), "int32", scope="local")
        cursor = T.alloc_buffer((1,), "int32", scope="local")
        for image in T.serial(batch):
            # 1. Keys of the finite scores above the threshold.
            found[0] = 0
            for turn, digit in T.grid(PASSES, RADIX):
                places[turn, digit] = 0
            for prior in T.serial(count):
                if conf[image, prior, face] > confidence_threshold and conf[image, prior, face] <= T.float32(finite):
                    # Such a score is above 0, so that its bits compare as the number does.
                    descending = T.meta_var(2147483647 - T.reinterpret("int32", conf[image, prior, face]))
                    keys[0, found[0]] = T.bitwise_or(
                        T.shift_left(T.Cast("int64", descending), T.int64(32)), T.Cast("int64", prior)
                    )
                    for turn in T.serial(PASSES):
                        counted: T.let[T.int32] = digit_of(keys[0, found[0]], turn)
                        places[turn, counted] = places[turn, counted] + 1
                    found[0] = found[0] + 1
            # 2. Radix sort, least digit first, between the two rows of keys.
            for turn in T.serial(PASSES):
                total[0] = 0
                for digit in T.serial(RADIX):
                    total[0] = total[0] + places[turn, digit]
                    places[turn, digit] = total[0] - places[turn, digit]
                for place in T.serial(found[0]):
                    sorted_by: T.let[T.int32] = digit_of(keys[turn % 2, place], turn)
                    keys[1 - turn % 2, places[turn, sorted_by]] = keys[turn % 2, place]
                    places[turn, sorted_by] = places[turn, sorted_by] + 1
            # 3. Decode in that order; keep a box that no kept one overlaps too much.
            filled[0] = 0
            cursor[0] = 0
            while cursor[0] < T.min(found[0], candidates) and filled[0] < T.min(slots, candidates):
                index: T.let[T.int32] = T.Cast("int32", T.bitwise_and(keys[PASSES % 2, cursor[0]], T.int64(2147483647)))
                prior = T.meta_var(decoder.prior(index))
                corners = T.meta_var(decoder.box(prior, [loc[image, index, k] for k in range(4)]))
                box[0] = corners[0]
                box[1] = corners[1]
                box[2] = corners[2]
                box[3] = corners[3]
                # Multiplied, since TVM turns a negated comparison around, which lets NaN through.
                usable[0] = 1
                for k in T.serial(4):
                    usable[0] = usable[0] * T.Cast("int32", T.fabs(box[k]) <= T.float32(finite))
                if with_landmarks:
                    for k in T.serial(points):
                        point = T.meta_var(
                            decoder.point(prior, landms[image, index, 2 * k], landms[image, index, 2 * k + 1])
                        )
                        landmarks[image, filled[0], 2 * k] = point[0]
                        landmarks[image, filled[0], 2 * k + 1] = point[1]
                    for k in T.serial(numbers):
                        usable[0] = usable[0] * T.Cast(
                            "int32", T.fabs(landmarks[image, filled[0], k]) <= T.float32(finite)
                        )
                area[0] = (box[2] - box[0] + T.float32(border)) * (box[3] - box[1] + T.float32(border))
                if usable[0] == 1:
                    # Vectors of kept boxes, until one overlaps: the best, which overlap most others, come first.
                    overlapped[0] = 0
                    start[0] = 0
                    while overlapped[0] == 0 and start[0] < filled[0]:
                        for step in T.serial(T.min(AT_ONCE, filled[0] - start[0])):
                            other: T.let[T.int32] = start[0] + step
                            overlap_w = T.max(
                                T.float32(0),
                                T.min(box[2], kept[2, other]) - T.max(box[0], kept[0, other]) + T.float32(1),
                            )
                            overlap_h = T.max(
                                T.float32(0),
                                T.min(box[3], kept[3, other]) - T.max(box[1], kept[1, other]) + T.float32(1),
                            )
                            overlap = overlap_w * overlap_h
                            whole = T.meta_var(area[0] if covered else area[0] + kept[4, other] - overlap)
                            overlapped[0] = T.bitwise_or(
                                overlapped[0], T.Cast("int32", overlap / whole > nms_threshold)
                            )
                        start[0] = start[0] + AT_ONCE
                    if overlapped[0] == 0:
                        for k in T.serial(4):
                            kept[k, filled[0]] = box[k]
                            boxes[image, filled[0], k] = box[k]
                        kept[4, filled[0]] = area[0]
                        scores[image, filled[0], 0] = conf[image, index, face]
                        filled[0] = filled[0] + 1
                cursor[0] = cursor[0] + 1
            # 4. Mark the rest empty.
            for slot in T.serial(slots):
                if slot >= filled[0]:
                    scores[image, slot, 0] = T.float32(-1)
                    for k in T.serial(4):
                        boxes[image, slot, k] = T.float32(-1)
                    if with_landmarks:
                        for k in T.serial(numbers):
                            landmarks[image, slot, k] = T.float32(-1)

    return kernel if points else _without(kernel, ("landms", "landmarks"))


def _without(function: Any, names: tuple[str, ...]) -> Any:
    """The function without the buffers of these names, which nothing in it reads or writes."""
    kept = [each for each in function.params if each.name not in names]
    return tirx.PrimFunc(kept, function.body, function.ret_type, function.attrs)
