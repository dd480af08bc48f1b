"""PyOD's AutoEncoder at its defaults, of dense layers: learns normal images, judges others.

    python pyod_autoencoder.py --folder FOLDER --seed 0

Reads `normal.npy` of FOLDER, uint8 `(num_images, ...)`, and says when it has learned. Then, for
each line it is sent, it judges `judged.npy` and writes `deviations.npy`, float64 `(num_images,)`,
the higher the less normal. It imports nothing of convae.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pyod.models.auto_encoder import AutoEncoder


def read_pixels(path: Path) -> NDArray[np.float32]:
    """The pixels of images in [0, 1], one image a row."""
    images: NDArray[np.uint8] = np.load(path)
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def main() -> None:
    """Learn once, then judge as often as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    detector = AutoEncoder(random_state=given.seed, device="cpu", verbose=0)
    detector.fit(read_pixels(given.folder / "normal.npy"))
    num_parameters = sum(parameter.numel() for parameter in detector.model.parameters())
    print(json.dumps({"parameters": num_parameters}), flush=True)
    for _ in sys.stdin:
        deviations = detector.decision_function(read_pixels(given.folder / "judged.npy"))
        np.save(given.folder / "deviations.npy", np.asarray(deviations, np.float64))
        print(json.dumps({"images": len(deviations)}), flush=True)


if __name__ == "__main__":
    main()
