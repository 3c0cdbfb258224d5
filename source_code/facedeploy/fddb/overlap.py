"""Boxes against ellipses: the intersection in closed form."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def overlaps(ellipses: FloatArray, boxes_xywh: FloatArray, image_hw: tuple[int, int] | None = None) -> FloatArray:
    """IoU (G, N) of ellipses (G, 5), as `folds.read_ellipses` has them, and boxes (N, 4), x y w h in px.

    With `image_hw` only what lies in the image counts, of both. The areas are exact but for the rounding of float64
    (1e-9 of an IoU). FDDB's own program counts pixels of masks instead, with the radii cut to whole px and a box's
    right and lower edge drawn too, so that its figures for small faces differ: the less, the larger they are.
    A box without area overlaps nothing.
    """
    top_left, size = boxes_xywh[:, :2], np.maximum(boxes_xywh[:, 2:], 0)
    boxes = np.concatenate([top_left, top_left + size], axis=1)
    if image_hw is None:
        ellipse_areas = np.pi * ellipses[:, 0] * ellipses[:, 1]
    else:
        height, width = image_hw
        limit = np.array([width, height, width, height], np.float64)
        boxes = np.clip(boxes, 0, limit)
        ellipse_areas = areas_inside(ellipses, np.array([[0, 0, width, height]], np.float64))[:, 0]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # A box of 1e200 px, an ellipse outside.
        box_areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        inside = areas_inside(ellipses, boxes)
        iou = inside / (ellipse_areas[:, None] + box_areas - inside)
    return np.where(np.isfinite(iou) & (box_areas > 0), np.clip(iou, 0, 1), 0.0)


def areas_inside(ellipses: FloatArray, boxes_xyxy: FloatArray) -> FloatArray:
    """The area (G, N) of each ellipse that lies in each box, px.

    In coordinates in which the ellipse is the unit circle, the box is a parallelogram: its part of the circle is the
    sum, over its edges, of the circle's parts of the triangles from the center to them, signed.
    """
    major, minor, angle = ellipses[:, 0], ellipses[:, 1], ellipses[:, 2]
    # A corner is a complex number, corners (G, N, 4) go around the box.
    left, top, right, bottom = (boxes_xyxy[None, :, side] for side in range(4))
    corners = np.stack([left + 1j * top, right + 1j * top, right + 1j * bottom, left + 1j * bottom], axis=-1)
    turned = (corners - (ellipses[:, 3] + 1j * ellipses[:, 4])[:, None, None]) * np.exp(-1j * angle)[:, None, None]
    unit = turned.real / major[:, None, None] + 1j * turned.imag / minor[:, None, None]
    shares = _circle_share(unit, np.roll(unit, -1, axis=-1)).sum(axis=-1)
    areas: FloatArray = np.maximum(shares, 0) * (major * minor)[:, None]
    return areas


def _circle_share(start: npt.NDArray[np.complex128], end: npt.NDArray[np.complex128]) -> FloatArray:
    """The signed area of the unit circle's part of the triangle 0, start, end: sectors around the edge's chord."""
    edge = end - start
    a, b = abs(edge) ** 2, (start.conj() * edge).real
    inner = a - _cross(start, edge) ** 2
    crosses = (inner > 0) & (a > 0)
    root, divisor = np.sqrt(np.where(crosses, inner, 0)), np.where(a > 0, a, 1)
    # Where the edge enters the circle and leaves it, as shares of its length; both at one point where it does not.
    enters, leaves = (np.where(crosses, np.clip((-b + sign * root) / divisor, 0, 1), 0) for sign in (-1, 1))
    # Where the end is inside it is the end itself, not off by a rounding: it may be the center.
    first, last = (np.where(share < 1, start + share * edge, end) for share in (enters, leaves))
    chord = _cross(first, last) / 2
    area: FloatArray = _sector(start, first) + chord + _sector(last, end)
    return area


def _sector(start: npt.NDArray[np.complex128], end: npt.NDArray[np.complex128]) -> FloatArray:
    """The signed area of the circle between two directions; the center has none."""
    product = start.conj() * end
    area: FloatArray = np.where(product == 0, 0.0, np.angle(product)) / 2
    return area


def _cross(one: npt.NDArray[np.complex128], other: npt.NDArray[np.complex128]) -> FloatArray:
    product: FloatArray = (one.conj() * other).imag
    return product
