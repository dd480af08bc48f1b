"""JPEG XL by imagecodecs: what images take, and how far off they come back.

    python jpegxl.py --images FILE.npy --qualities 5 30 100

Reads images, uint8 `(num_images, height, width)`, and prints one line of JSON: for each quality
(100 is lossless) the bytes of all files and the mean squared error of pixels in [0, 1]. It imports
nothing of convae.
"""

import argparse
import json
from pathlib import Path

import imagecodecs
import numpy as np


def main() -> None:
    """Code every image once with each quality."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--qualities", type=int, nargs="+", required=True)
    given = parser.parse_args()
    images = np.load(given.images)
    answers = []
    for quality in given.qualities:
        options = {"lossless": True} if quality == 100 else {"level": quality}
        files = [imagecodecs.jpegxl_encode(image, effort=9, **options) for image in images]
        found = np.stack([imagecodecs.jpegxl_decode(file) for file in files])
        off = (found.reshape(images.shape).astype(np.float64) - images) / 255
        answers.append(
            {
                "quality": quality,
                "num_bytes": sum(map(len, files)),
                "mse": float(np.square(off).mean()),
            }
        )
    print(json.dumps({"answers": answers}), flush=True)


if __name__ == "__main__":
    main()
