"""Test error on MNIST at 16 numbers an image: each preset, longer trainings, refined latents, PCA.

    python benchmarks/quality.py            # three seeds; hours on 2 cores
    python benchmarks/quality.py --quick    # a tenth of the images, one seed; writes no result

Needs the real MNIST. Everything was chosen on held-out images of the training split; the test split
is touched once by each trained model. A row counts its parameters and the seconds of its training
on this machine, which other rows may have shared. `refined` are the same models, each image's
latents improved by four steps at encoding time (`ConvAutoencoder.transform`), which costs some
seventy reconstructions an image.
"""

import argparse
import statistics
import time

from reference import LATENT_DIM, mnist_parts, pca_test_mse
from results import print_table, write_result

from convae import ConvAutoencoder
from convae.images import to_float
from convae.metrics import psnr_db

SEEDS = [0, 1, 2]
REFINEMENT_STEPS = 4
SAME_SIZE = "fast, 30 epochs"
# Name, preset and changes of each training.
TRAININGS: list[tuple[str, str, dict[str, object]]] = [
    ("fast", "fast", {}),
    (SAME_SIZE, "fast", {"epochs": 30}),
]
QUICK_CHANGES: dict[str, object] = {"epochs": 2}


def main() -> None:
    """Measure, print and, unless quick, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller; writes no result")
    quick = parser.parse_args().quick
    train, test = mnist_parts()
    if quick:
        train, test = train[:6000], test[:1000]
    seeds = SEEDS[:1] if quick else SEEDS
    rows = []
    for name, preset, changes in TRAININGS:
        for seed in seeds:
            given = {**changes, **(QUICK_CHANGES if quick else {})}
            model = ConvAutoencoder.from_preset(preset, seed=seed, **given)
            started = time.perf_counter()
            model.fit(train)
            elapsed_s = time.perf_counter() - started
            for method, steps in ((name, 0), (f"{name}, refined", REFINEMENT_STEPS)):
                mse = -float(model.score_samples(test, refinement_steps=steps).mean())
                rows.append(
                    {
                        "method": method,
                        "seed": seed,
                        "parameters": model.architecture_.num_parameters,
                        "epochs": model.n_iter_,
                        "training_s": elapsed_s,
                        "test_mse": mse,
                        "psnr_db": psnr_db(mse),
                    }
                )
                print(rows[-1], flush=True)
    pca_mse = pca_test_mse(to_float(train), to_float(test))
    rows.append(
        {
            "method": f"PCA-{LATENT_DIM}",
            "seed": 0,
            "parameters": (LATENT_DIM + 1) * train[0].size,
            "epochs": 0,
            "training_s": 0.0,
            "test_mse": pca_mse,
            "psnr_db": psnr_db(pca_mse),
        }
    )
    print_table(rows)
    if quick:
        return

    def mean(method: str) -> float:
        return statistics.mean(float(str(r["test_mse"])) for r in rows if r["method"] == method)

    headline = {
        "fast_test_mse": mean("fast"),
        "fast_refined_test_mse": mean("fast, refined"),
        "same_size_test_mse": mean(SAME_SIZE),
        "same_size_refined_test_mse": mean(f"{SAME_SIZE}, refined"),
        "pca16_test_mse": pca_mse,
    }
    write_result("quality", headline, rows, seeds)


if __name__ == "__main__":
    main()
