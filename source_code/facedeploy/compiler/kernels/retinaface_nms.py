"""RetinaFace post-processing as one TIR function: decode, threshold, sort, suppress, fill slots.

`facedeploy.detect.slots.retinaface_slots` says what it computes, and is its oracle in the tests.
"""

from typing import Any

import numpy as np
from tvm.script import tirx as T

from facedeploy.core.nms_params import CANDIDATES
from facedeploy.core.prior_spec import PriorSpec

NAME = "retinaface_nms"


def retinaface_nms(spec: PriorSpec, canvas_hw: tuple[int, int], batch: int) -> Any:
    """Build `retinaface_nms(loc, conf, landms, confidence_threshold, nms_threshold, scores, boxes, landmarks)`.

    In: loc (N, P, 4), conf (N, P, 2), landms (N, P, 10) float32, two float32 scalars. Out, written in place: scores
    (N, K, 1), boxes (N, K, 4), landmarks (N, K, 10) float32, where K, the number of slots, is the caller's choice.
    Returns a tirx PrimFunc.
    """
    height, width = canvas_hw
    count = spec.count(canvas_hw)
    candidates = min(CANDIDATES, count)
    variance_center, variance_size = (float(np.float32(value)) for value in spec.variances)
    finite = float(np.finfo(np.float32).max)
    canvas_w, canvas_h = float(width), float(height)

    def prior_of(index: Any) -> tuple[Any, Any, Any, Any]:
        """cx, cy, w, h of the prior with this index, rounded from float64 as `detect.priors` does."""
        starts = np.cumsum([0, *(spec_level_count(spec, level, canvas_hw) for level in range(len(spec.strides)))])
        prior: tuple[Any, ...] = ()
        for level in reversed(range(len(spec.strides))):
            stride, sizes = spec.strides[level], spec.min_sizes[level]
            columns = -(-width // stride)
            local = index - int(starts[level])
            cell, which = T.floordiv(local, len(sizes)), T.floormod(local, len(sizes))
            size = T.float64(sizes[-1])
            for position in reversed(range(len(sizes) - 1)):
                size = T.Select(which == position, T.float64(sizes[position]), size)
            here = (
                (T.Cast("float64", T.floormod(cell, columns)) + T.float64(0.5)) * T.float64(stride) / T.float64(width),
                (T.Cast("float64", T.floordiv(cell, columns)) + T.float64(0.5)) * T.float64(stride) / T.float64(height),
                size / T.float64(width),
                size / T.float64(height),
            )
            prior = (
                tuple(T.Select(index < int(starts[level + 1]), a, b) for a, b in zip(here, prior, strict=True))
                if prior
                else here
            )
        cx, cy, w, h = (T.Cast("float32", value) for value in prior)
        return cx, cy, w, h

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
        T.func_attr({"global_symbol": NAME, "tirx.noalias": True})
        slots = T.int32()
        loc = T.match_buffer(loc_handle, (batch, count, 4), "float32")
        conf = T.match_buffer(conf_handle, (batch, count, 2), "float32")
        landms = T.match_buffer(landms_handle, (batch, count, 10), "float32")
        scores = T.match_buffer(scores_handle, (batch, slots, 1), "float32")
        boxes = T.match_buffer(boxes_handle, (batch, slots, 4), "float32")
        landmarks = T.match_buffer(landmarks_handle, (batch, slots, 10), "float32")
        # A key orders by score, then by lower prior index: no two are equal, so any sort gives one order.
        keys = T.alloc_buffer((2, count), "int64")
        kept = T.alloc_buffer((5, candidates), "float32")  # x1, y1, x2, y2, area: one row each, for vector loads
        box = T.alloc_buffer((4,), "float32", scope="local")
        area = T.alloc_buffer((1,), "float32", scope="local")
        usable = T.alloc_buffer((1,), "int32", scope="local")
        found = T.alloc_buffer((1,), "int32", scope="local")
        filled = T.alloc_buffer((1,), "int32", scope="local")
        run = T.alloc_buffer((1,), "int32", scope="local")
        source = T.alloc_buffer((1,), "int32", scope="local")
        start = T.alloc_buffer((1,), "int32", scope="local")
        left = T.alloc_buffer((1,), "int32", scope="local")
        right = T.alloc_buffer((1,), "int32", scope="local")
        cursor = T.alloc_buffer((1,), "int32", scope="local")
        for image in T.serial(batch):
            # 1. Keys of the finite scores above the threshold.
            found[0] = 0
            for prior in T.serial(count):
                if conf[image, prior, 1] > confidence_threshold and conf[image, prior, 1] <= T.float32(finite):
                    # Adding +0 turns -0 into +0, whose bits compare as the number does.
                    bits = T.reinterpret("int32", conf[image, prior, 1] + T.float32(0))
                    ordered = T.Select(bits < 0, T.bitwise_xor(bits, T.int32(2147483647)), bits)
                    keys[0, found[0]] = T.bitwise_or(
                        T.shift_left(T.Cast("int64", ordered), T.int64(32)), T.Cast("int64", 2147483647 - prior)
                    )
                    found[0] = found[0] + 1
            # 2. Bottom-up merge sort, largest key first, between the two rows of keys.
            run[0] = 1
            source[0] = 0
            while run[0] < found[0]:
                start[0] = 0
                while start[0] < found[0]:
                    left[0] = start[0]
                    right[0] = T.min(start[0] + run[0], found[0])
                    cursor[0] = start[0]
                    while cursor[0] < T.min(start[0] + 2 * run[0], found[0]):
                        # The left run goes on while it has keys and the right one has none, or a smaller one.
                        if left[0] < T.min(start[0] + run[0], found[0]) and (
                            right[0] >= T.min(start[0] + 2 * run[0], found[0])
                            or keys[source[0], left[0]] > keys[source[0], T.min(right[0], count - 1)]
                        ):
                            keys[1 - source[0], cursor[0]] = keys[source[0], left[0]]
                            left[0] = left[0] + 1
                        else:
                            keys[1 - source[0], cursor[0]] = keys[source[0], right[0]]
                            right[0] = right[0] + 1
                        cursor[0] = cursor[0] + 1
                    start[0] = start[0] + 2 * run[0]
                source[0] = 1 - source[0]
                run[0] = run[0] * 2
            # 3. Decode in that order; keep a box that no kept one overlaps too much.
            filled[0] = 0
            cursor[0] = 0
            while cursor[0] < T.min(found[0], candidates) and filled[0] < T.min(slots, candidates):
                index: T.let[T.int32] = 2147483647 - T.Cast(
                    "int32", T.bitwise_and(keys[source[0], cursor[0]], T.int64(2147483647))
                )
                cx, cy, w, h = T.meta_var(prior_of(index))
                box[0] = cx + loc[image, index, 0] * T.float32(variance_center) * w
                box[1] = cy + loc[image, index, 1] * T.float32(variance_center) * h
                box[2] = w * T.exp(loc[image, index, 2] * T.float32(variance_size))
                box[3] = h * T.exp(loc[image, index, 3] * T.float32(variance_size))
                box[0] = box[0] - box[2] / T.float32(2)
                box[1] = box[1] - box[3] / T.float32(2)
                box[2] = (box[0] + box[2]) * T.float32(canvas_w)
                box[3] = (box[1] + box[3]) * T.float32(canvas_h)
                box[0] = box[0] * T.float32(canvas_w)
                box[1] = box[1] * T.float32(canvas_h)
                usable[0] = 1
                for k in T.unroll(4):
                    # Written so that NaN, which compares false with everything, is not usable either.
                    if not (T.fabs(box[k]) <= T.float32(finite)):
                        usable[0] = 0
                for k in T.unroll(5):
                    landmarks[image, filled[0], 2 * k] = (
                        landms[image, index, 2 * k] * T.float32(variance_center) * w + cx
                    ) * T.float32(canvas_w)
                    landmarks[image, filled[0], 2 * k + 1] = (
                        landms[image, index, 2 * k + 1] * T.float32(variance_center) * h + cy
                    ) * T.float32(canvas_h)
                for k in T.unroll(10):
                    if not (T.fabs(landmarks[image, filled[0], k]) <= T.float32(finite)):
                        usable[0] = 0
                area[0] = (box[2] - box[0] + T.float32(1)) * (box[3] - box[1] + T.float32(1))
                if usable[0] == 1:
                    right[0] = 0
                    for other in T.serial(filled[0]):
                        overlap_w = T.max(
                            T.float32(0), T.min(box[2], kept[2, other]) - T.max(box[0], kept[0, other]) + T.float32(1)
                        )
                        overlap_h = T.max(
                            T.float32(0), T.min(box[3], kept[3, other]) - T.max(box[1], kept[1, other]) + T.float32(1)
                        )
                        overlap = overlap_w * overlap_h
                        right[0] = T.bitwise_or(
                            right[0],
                            T.Cast("int32", overlap / (area[0] + kept[4, other] - overlap) > nms_threshold),
                        )
                    if right[0] == 0:
                        for k in T.unroll(4):
                            kept[k, filled[0]] = box[k]
                            boxes[image, filled[0], k] = box[k]
                        kept[4, filled[0]] = area[0]
                        scores[image, filled[0], 0] = conf[image, index, 1]
                        filled[0] = filled[0] + 1
                cursor[0] = cursor[0] + 1
            # 4. Mark the rest empty.
            for slot in T.serial(slots):
                if slot >= filled[0]:
                    scores[image, slot, 0] = T.float32(-1)
                    for k in T.serial(4):
                        boxes[image, slot, k] = T.float32(-1)
                    for k in T.serial(10):
                        landmarks[image, slot, k] = T.float32(-1)

    return kernel


def spec_level_count(spec: PriorSpec, level: int, canvas_hw: tuple[int, int]) -> int:
    """Number of priors of one level."""
    one = PriorSpec((spec.min_sizes[level],), (spec.strides[level],), spec.variances)
    return one.count(canvas_hw)
