"""Test error on MNIST at 16 numbers an image: each preset, a longer training, refined latents, PCA.

    python benchmarks/quality.py            # three seeds; hours on 2 cores
    python benchmarks/quality.py --quick    # a tenth of the images, one seed; writes no result

Needs the real MNIST. Everything was chosen on held-out images of the training split; the test split
is touched once by each trained model. A row counts its parameters and the seconds of its training
on this machine, which other rows may have shared. `refined` are the same models, each image's
latents improved by four steps at encoding time (`ConvAutoencoder.transform`), which costs some
seventy reconstructions an image.

With `--rows FILE` each row is kept in that file too, and none that is there is measured again: a
benchmark that was stopped goes on. With `--training NAME` as well, only those rows are measured, so
that two processes can share the work; a last run without it writes the result.
"""

import statistics
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reference import LATENT_DIM, mnist_parts, pca_test_mse
from results import keep_rows, kept_rows, print_table, publish, row_options

from convae import ConvAutoencoder
from convae.images import to_float
from convae.images.metrics import psnr_db

SEEDS = [0, 1, 2]
REFINEMENT_STEPS = 4
SAME_SIZE = "fast, 30 epochs"
# Name, preset and changes of each training.
TRAININGS: dict[str, tuple[str, dict[str, Any]]] = {
    "fast": ("fast", {}),
    "best": ("best", {}),
    SAME_SIZE: ("fast", {"epochs": 30}),
}
QUICK_CHANGES: dict[str, Any] = {"epochs": 2}

Row = dict[str, Any]
Images = NDArray[np.uint8]


def refined(name: str) -> str:
    """The name of the rows with refined latents."""
    return f"{name}, refined"


def measure(name: str, seed: int, changes: Row, train: Images, test: Images) -> list[Row]:
    """Train once, and judge the model with and without refined latents."""
    preset, own = TRAININGS[name]
    model = ConvAutoencoder.from_preset(preset, seed=seed, **{**own, **changes})
    started = time.perf_counter()
    model.fit(train)
    elapsed_s = time.perf_counter() - started
    rows = []
    for method, steps in ((name, 0), (refined(name), REFINEMENT_STEPS)):
        mse = -float(model.score_samples(test, refinement_steps=steps).mean())
        parameters = model.architecture_.num_parameters
        rows.append(a_row(method, seed, parameters, model.n_iter_, elapsed_s, mse))
    return rows


def a_row(
    method: str, seed: int, parameters: int, epochs: int, elapsed_s: float, mse: float
) -> Row:
    """One line of the table."""
    return {
        "method": method,
        "seed": seed,
        "parameters": parameters,
        "epochs": epochs,
        "training_s": elapsed_s,
        "test_mse": mse,
        "psnr_db": psnr_db(mse),
    }


def summarize(rows: list[Row]) -> dict[str, float]:
    """The headline: mean test errors over the seeds."""

    def mean(method: str) -> float:
        return float(statistics.mean(r["test_mse"] for r in rows if r["method"] == method))

    return {
        "fast_test_mse": mean("fast"),
        "fast_refined_test_mse": mean(refined("fast")),
        "same_size_test_mse": mean(SAME_SIZE),
        "same_size_refined_test_mse": mean(refined(SAME_SIZE)),
        "best_unrefined_test_mse": mean("best"),
        "best_test_mse": mean(refined("best")),
        "pca16_test_mse": mean(f"PCA-{LATENT_DIM}"),
    }


def main() -> None:
    """Measure, print and, unless quick or partial, write the result."""
    given = row_options(__doc__, "--training", choices=list(TRAININGS))
    train, test = mnist_parts()
    if given.quick:
        train, test = train[:6000], test[:1000]
    rows = kept_rows(given.rows)
    done = {(row["method"], row["seed"]) for row in rows}
    for name in [given.part] if given.part else TRAININGS:
        for seed in SEEDS[:1] if given.quick else SEEDS:
            if (refined(name), seed) in done:
                continue
            new = measure(name, seed, QUICK_CHANGES if given.quick else {}, train, test)
            rows += new
            print_table(new)
            keep_rows(given.rows, new)
    if given.part:
        return
    pca_mse = pca_test_mse(to_float(train), to_float(test))
    parameters = (LATENT_DIM + 1) * train[0].size
    rows.append(a_row(f"PCA-{LATENT_DIM}", 0, parameters, 0, 0.0, pca_mse))
    publish("quality", summarize(rows), rows, SEEDS, quick=given.quick)


if __name__ == "__main__":
    main()
