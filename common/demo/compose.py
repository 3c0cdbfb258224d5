"""A small dataset in WIDER FACE's form, composed from photos that scikit-image ships.

One face (Eileen Collins, a NASA portrait in the public domain) is pasted at many scales and places, so that boxes are
known exactly. What it measures is that the flow works, not how good a detector is.
"""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facedeploy.image.draw import write_image
from facedeploy.widerface.ground_truth import write_ground_truth

Pixels = npt.NDArray[np.uint8]

# In the portrait, px: the head with its surroundings that is pasted, and the face in it as WIDER FACE would box it.
HEAD_XYXY = (130, 0, 322, 226)
FACE_XYXY = (177, 62, 274, 182)

# Canvas sizes (width, height), portrait, landscape and square, and the widths of the faces pasted on each, px.
EVENTS = {
    "0--Launch_Pad": (
        "rocket",
        [((1024, 683), (180, 90, 60, 30)), ((683, 1024), (140, 70, 40)), ((640, 640), (64, 32, 20))],
    ),
    "1--Coffee_Break": (
        "coffee",
        [((1024, 683), (220, 110, 45)), ((800, 600), (150, 24, 50)), ((640, 960), (90, 60, 18))],
    ),
    "2--Living_Room": (
        "chelsea",
        [((902, 600), (200, 55, 35)), ((600, 902), (120, 80, 28)), ((1200, 800), (260, 100, 22))],
    ),
}
# WIDER FACE's difficulties follow the height of a face, px.
MIN_HEIGHT = {"easy": 50, "medium": 30, "hard": 10}


def compose(folder: Path, seed: int = 0) -> int:
    """Write `<folder>/images/<event>/<image>.jpg` and `<folder>/ground_truth/*.mat`; returns the number of images."""
    from skimage import data

    portrait = np.ascontiguousarray(data.astronaut()[..., ::-1])
    generator = np.random.default_rng(seed)
    boxes: dict[str, npt.NDArray[np.float64]] = {}
    for event, (background, pictures) in EVENTS.items():
        scene = np.ascontiguousarray(getattr(data, background)()[..., ::-1])
        for number, (size_wh, widths) in enumerate(pictures):
            name = f"{event}/{event.replace('--', '_')}_{number}"
            picture = cv2.resize(scene, size_wh, interpolation=cv2.INTER_AREA)
            boxes[name] = np.array(_paste_faces(picture, portrait, widths, generator))
            write_image(folder / "images" / f"{name}.jpg", picture)
    counted = {
        level: {name: [i for i, box in enumerate(faces) if box[3] >= height] for name, faces in boxes.items()}
        for level, height in MIN_HEIGHT.items()
    }
    write_ground_truth(folder / "ground_truth", boxes, **counted)
    return len(boxes)


def _paste_faces(
    picture: Pixels, portrait: Pixels, widths: tuple[int, ...], generator: np.random.Generator
) -> list[list[float]]:
    """Paste a head for each face width, largest first, where it overlaps no other; returns the faces, x y w h."""
    taken = np.zeros(picture.shape[:2], bool)
    faces = []
    x1, y1, x2, y2 = HEAD_XYXY
    for width in sorted(widths, reverse=True):
        scale = width / (FACE_XYXY[2] - FACE_XYXY[0])
        head_wh = (round((x2 - x1) * scale), round((y2 - y1) * scale))
        # Shrinking averages over source pixels; enlarging interpolates.
        head = cv2.resize(
            portrait[y1:y2, x1:x2], head_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        )
        for _ in range(1000):
            left = int(generator.integers(0, picture.shape[1] - head_wh[0] + 1))
            top = int(generator.integers(0, picture.shape[0] - head_wh[1] + 1))
            place = np.s_[top : top + head_wh[1], left : left + head_wh[0]]
            if not taken[place].any():
                break
        else:
            raise RuntimeError(f"no place for a face of {width} px; make the picture larger")
        taken[place] = True
        picture[place] = head
        face_wh = ((FACE_XYXY[2] - FACE_XYXY[0]) * scale, (FACE_XYXY[3] - FACE_XYXY[1]) * scale)
        faces.append([left + (FACE_XYXY[0] - x1) * scale, top + (FACE_XYXY[1] - y1) * scale, *face_wh])
    return faces
