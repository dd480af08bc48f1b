"""What a training with the defaults costs, and what it gives, as images grow from 8 to 128 pixels.

    python benchmarks/image_sizes.py            # about half an hour on 2 cores
    python benchmarks/image_sizes.py --quick    # two sizes, few images and epochs; writes no result
    python benchmarks/image_sizes.py --rows r.jsonl --part "64 pixels"    # that alone; kept

The images are windows of 128 x 128 pixels of the color photographs that come with scikit-image and
scikit-learn, reduced to each size: those of the left three quarters are learned, those of the right
quarters judged. Each training is a process of its own. `epoch_s` is what an epoch takes, the median
without the first one, which compiles, brought to 1,000 images; `fit_s` is the whole training. Gray
images change the first and the last layer alone.
"""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from compression_photographs import photographs
from numpy.typing import NDArray
from PIL import Image
from results import alone, kept_rows, measure_parts, peak_mib, publish, row_options

from convae import ConvAutoencoder
from convae.autoencoder.applied import model_mse
from convae.baselines.pca import pca_mse

SEED = 0
WINDOW, STRIDE = 128, 32
SIDES = [8, 16, 28, 32, 48, 64, 96, 128]
QUICK_SIDES, QUICK_IMAGES, QUICK_EPOCHS = [8, 32], 64, 2
PER = 1_000

Images = NDArray[np.uint8]
Row = dict[str, Any]


def windows(picture: Images, side: int) -> list[Images]:
    """All windows of a picture, a stride apart, at that size."""
    height, width, _ = picture.shape
    return [
        np.asarray(
            Image.fromarray(picture[top : top + WINDOW, left : left + WINDOW]).resize(
                (side, side), Image.Resampling.BOX
            )
        )
        for top in range(0, height - WINDOW + 1, STRIDE)
        for left in range(0, width - WINDOW + 1, STRIDE)
    ]


def row_of(side: int, quick: bool) -> Row:
    """The training at a size."""
    learned, judged = [], []
    for picture in photographs():
        cut = picture.shape[1] * 3 // 4
        learned += windows(picture[:, :cut], side)
        judged += windows(picture[:, cut:], side)
    train = np.stack(learned[:QUICK_IMAGES] if quick else learned)
    test = np.stack(judged)
    model = ConvAutoencoder(seed=SEED, epochs=QUICK_EPOCHS if quick else None)
    started = time.perf_counter()
    model.fit(train)
    elapsed_s = time.perf_counter() - started
    epochs = [record["elapsed_s"] for record in model.history_[1:]]
    return {
        "side": side,
        "images": len(train),
        "filters": list(model.architecture_.filters),
        "parameters": model.architecture_.num_parameters,
        "epochs": model.n_iter_,
        "epoch_s": statistics.median(epochs) * PER / len(train),
        "fit_s": elapsed_s,
        "peak_mib": peak_mib(),
        "train_mse": model_mse(model, train),
        "test_mse": model_mse(model, test),
        "pca_test_mse": pca_mse(train, test, model.latent_dim),
    }


def rows_of(side: int, quick: bool) -> Iterator[Row]:
    """The training at a size, in a process of its own."""
    yield alone(row_of, side, quick)


def main() -> None:
    """Measure, print, publish."""
    given = row_options(__doc__, "--part", help="only that size; needs --rows")
    rows = kept_rows(given.rows)
    sides = QUICK_SIDES if given.quick else SIDES
    measure_parts({f"{side} pixels": rows_of(side, given.quick) for side in sides}, given, rows)
    headline = {f"epoch_s_{each['side']}": each["epoch_s"] for each in rows}
    if not given.part:
        publish("image_sizes", headline, rows, [SEED], quick=given.quick)


if __name__ == "__main__":
    main()
