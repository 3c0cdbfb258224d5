"""LFFD's tensors in MXNet, beside those of an artifact, on synthetic images. Run by hand:

    python tests/reference/lffd_tensors.py SYMBOL.json X.params .../lffd_plate_fp32/mod --mxnet mx/bin/python

For nets without photos to find anything in, such as that of licence plates (mxnet_nets.py says how to have MXNet).
Prints for each image the greatest difference of a score and of a distance in MXNet's outputs, level by level, from the
artifact's `conf` and `loc`; of licence plates, on eight images at 640: 3.1e-08 and 1.4e-06.
"""

import cv2
import numpy as np
from lffd_head import net_and_artifact
from mxnet_nets import SERVER, served

from facedeploy.runtime.model import Model

IMAGES = 8


def main() -> None:
    arguments = net_and_artifact(__doc__)
    model = Model.open(arguments.prefix)
    side = model.canvas_hw[0]
    with served([arguments.mxnet, "-c", SERVER, arguments.symbol, arguments.params, side]) as server:
        for seed in range(IMAGES):
            tensor = synthetic(seed, side).astype(np.float32).transpose(2, 0, 1)
            outputs = server(tensor)
            found = model.infer(tensor[None])
            for name, levels in (("conf", outputs[::2]), ("loc", outputs[1::2])):
                # The channel that counts is the first of two, or the only one.
                width = found[name].shape[2]
                expected = np.concatenate([level[0, :width].reshape(width, -1).T for level in levels])
                off = np.abs(found[name][0] - expected).max()
                print(f"image {seed}: {name} {list(expected.shape)} of {np.abs(expected).max():.3g}, off by {off:.1e}")


def synthetic(seed: int, side: int) -> np.ndarray:
    """(side, side, 3) u8: soft patches with characters on plates."""
    random = np.random.default_rng(seed)
    image = cv2.resize(random.integers(0, 256, (12, 12, 3), np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)
    for _ in range(6):
        x, y = random.integers(0, side * 3 // 4, 2)
        scale = random.uniform(0.7, 3)
        corner = int(x + 130 * scale), int(y + 30 * scale)
        cv2.rectangle(image, (int(x), int(y)), corner, [int(v) for v in random.integers(120, 256, 3)], -1)
        text = "".join(random.choice(list("ABC0123456789"), 7))
        cv2.putText(image, text, (int(x) + 4, corner[1] - 6), cv2.FONT_HERSHEY_SIMPLEX, scale, (20, 20, 20), 2)
    return image


if __name__ == "__main__":
    main()
