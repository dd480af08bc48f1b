"""Denoise the images of a .npy file in place with BM3D, or CBM3D for color.

    python bm3d_images.py IMAGES.npy STRENGTH

It imports nothing of convae; the environment of `make .venv-bm3d/installed` has the library.
"""

import sys

import bm3d
import numpy as np


def main() -> None:
    """Denoise the images one by one."""
    path, strength = sys.argv[1], float(sys.argv[2])
    images = np.load(path)
    for image in images:
        if image.shape[2] == 1:
            image[..., 0] = bm3d.bm3d(image[..., 0], strength)
        else:
            image[:] = bm3d.bm3d_rgb(image, strength)
    np.save(path, images)


if __name__ == "__main__":
    main()
