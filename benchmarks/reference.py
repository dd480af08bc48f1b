"""Test error of the `reference` preset on MNIST, beside PCA with as many numbers an image.

    python benchmarks/reference.py            # three seeds; about half an hour on 2 cores
    python benchmarks/reference.py --quick    # a tenth of the images, 3 epochs, one seed

Needs the real MNIST; it has no other setting to choose, so the test split is touched once a seed.
"""

import argparse
import statistics

import numpy as np
from numpy.typing import NDArray
from results import print_table, write_result

from convae import ConvAutoencoder, load_dataset
from convae.baselines.pca import component_errors, fit_components
from convae.images import to_float
from convae.images.metrics import psnr_db

LATENT_DIM = 16


def mnist_parts() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """MNIST's images to train on and to test with.

    Raises:
        convae.DataUnavailableError: MNIST is not at hand.
        SystemExit: It came without its test split.
    """
    dataset = load_dataset("mnist")
    if dataset.test is None:
        raise SystemExit("MNIST must come with its test split.")
    return dataset.train, dataset.test


def pca_test_mse(train: NDArray[np.float32], test: NDArray[np.float32]) -> float:
    """Mean squared error of `test` after PCA fitted on `train`, both in [0, 1]."""
    flat_train, flat_test = train.reshape(len(train), -1), test.reshape(len(test), -1)
    return float(component_errors(fit_components(flat_train, LATENT_DIM), flat_test).mean())


def main() -> None:
    """Measure, print and, unless quick, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller; writes no result")
    quick = parser.parse_args().quick
    train, test = mnist_parts()
    train = train[:6000] if quick else train
    changes = {"epochs": 3} if quick else {}
    seeds = [0] if quick else [0, 1, 2]
    rows = []
    for seed in seeds:
        model = ConvAutoencoder.from_preset("reference", seed=seed, **changes).fit(train)
        mse = -model.score(test)
        rows.append({"method": "reference", "seed": seed, "test_mse": mse, "psnr_db": psnr_db(mse)})
        print(rows[-1], flush=True)
    pca_mse = pca_test_mse(to_float(train), to_float(test))
    rows.append({"method": "PCA-16", "seed": 0, "test_mse": pca_mse, "psnr_db": psnr_db(pca_mse)})
    print_table(rows)
    errors = [float(str(row["test_mse"])) for row in rows if row["method"] == "reference"]
    if not quick:
        headline = {
            "test_mse": statistics.mean(errors),
            "test_mse_worst": max(errors),
            "test_mse_stdev": statistics.stdev(errors),
            "pca16_test_mse": pca_mse,
        }
        write_result("reference", headline, rows, seeds)


if __name__ == "__main__":
    main()
