"""What a folder of few images gets: the defaults, beside methods that cost less, on unseen images.

    python benchmarks/few_images.py            # some hours on 2 cores
    python benchmarks/few_images.py --quick    # two small sets; writes no result
    python benchmarks/few_images.py --rows r.jsonl --part "mnist 1000"    # that alone; kept

Sets are the first images of MNIST, of one of its digits and of small color photographs
(`CONVAE_DATA`/cifar10-sample.npz, all and one kind), normal magnetic tiles
(`CONVAE_DATA`/magnetic-tiles/normal), the digits embedded in scikit-learn, and tiles of the
photographs that come with scikit-image and scikit-learn, judged on other parts of these, and on two
that are not among them ("other photographs"). All methods keep as many numbers of an
image, 16 unless a row says otherwise, and are judged by the mean squared error of test images; for
tiles, of every fifth image. Each row is measured in a process of its own, so that no training
finds compiled what another one compiled.

`ConvAutoencoder` has its defaults; its refined error is that with 4 refinement steps. `undistorted`
is the network (32, 64) with one pass of its encoder, without distortions and with half of the
steps. `Keras` is the same network in plain Keras with Adam, a held-out sixth and early stopping.
`PCA, shifted` is fitted on copies moved by a pixel to each side, too, and kernel PCA with what
suits a held-out sixth.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import compression_photographs
import numpy as np
from data_sets import data_path
from numpy.typing import NDArray
from quality import REFINEMENT_STEPS
from results import alone, kept_rows, measure_parts, publish, row_options
from sklearn.decomposition import PCA, KernelPCA
from sklearn.pipeline import Pipeline

from convae import ConvAutoencoder, load_dataset
from convae.images import to_float
from convae.images.distortion import Distortion
from convae.images.metrics import squared_errors

Row = dict[str, Any]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Judge = Callable[[Floats], Floats]

SEEDS = [0, 1, 2]
LATENT_DIM = 16
MNIST, DIGIT, COLOR, KIND = "mnist", "mnist, one digit", "color", "color, one kind"
TILES, DIGITS = "magnetic tiles", "embedded digits"
PHOTOGRAPHS, OTHERS = "photographs", "other photographs"
PARTS = {PHOTOGRAPHS: compression_photographs.SEEN, OTHERS: compression_photographs.UNSEEN}
# The digit and the kind of photograph that are learned alone.
ONE_DIGIT, ONE_KIND = 3, 0
MORE_NUMBERS = (64, 128)
# Each set, its number of images, and the latent numbers of an image; None takes all images.
SETS: list[tuple[str, int | None, int]] = [
    *((MNIST, count, LATENT_DIM) for count in (12, 30, 100, 300, 1_000, 3_000, 10_000)),
    (DIGIT, 1_000, LATENT_DIM),
    *((COLOR, count, LATENT_DIM) for count in (12, 100, 1_000, 2_000, 10_000)),
    *((COLOR, 10_000, numbers) for numbers in MORE_NUMBERS),
    (KIND, 900, LATENT_DIM),
    (TILES, None, LATENT_DIM),
    (DIGITS, None, LATENT_DIM),
    (PHOTOGRAPHS, None, LATENT_DIM),
    (OTHERS, None, LATENT_DIM),
]
QUICK_SETS: list[tuple[str, int | None, int]] = [
    (DIGITS, 40, LATENT_DIM),
    (DIGITS, 100, 2 * LATENT_DIM),
]
QUICK_EPOCHS = 5
OURS, UNDISTORTED, KERAS = "ConvAutoencoder", "undistorted", "Keras"
COMPONENTS, SHIFTED, KERNEL = "PCA", "PCA, shifted", "kernel PCA"
METHODS = (COMPONENTS, SHIFTED, KERNEL, KERAS, UNDISTORTED, OURS)
NUM_JUDGED = 2_000
# Where seconds decide nothing, PCA sees no more copies, and kernel PCA no more images.
MOST_COPIES, MOST_KERNEL = 10_000, 2_000
HELD_OUT, PATIENCE, MOST_EPOCHS = 1 / 6, 10, 300
GAMMAS, ALPHAS = (0.3, 1.0, 3.0), (1e-3, 1e-2, 1e-1)
# Where refining takes hours.
MOST_REFINED = LATENT_DIM
# The number of images from which on a test error far above the training error is a fault.
ENOUGH = 1_000


def images_of(name: str) -> tuple[Bytes, Bytes]:
    """Training and test images of a set."""
    if name in PARTS:
        train, judged = compression_photographs.pictures()
        return train, judged[PARTS[name]]
    if name == TILES:
        tiles = np.asarray(load_dataset(data_path("magnetic-tiles") / "normal").train)
        order = np.random.default_rng(0).permutation(len(tiles))
        return tiles[order[len(tiles) // 5 :]], tiles[order[: len(tiles) // 5]]
    source = {MNIST: "mnist", DIGIT: "mnist", DIGITS: "digits"}
    found = load_dataset(source.get(name) or data_path("cifar10-sample.npz"))
    if name in (DIGIT, KIND):
        kind = ONE_DIGIT if name == DIGIT else ONE_KIND
        of_train = np.flatnonzero(found.train_labels == kind)
        of_test = np.flatnonzero(found.test_labels == kind)
        return np.asarray(found.train)[of_train], np.asarray(found.test)[of_test]
    return np.asarray(found.train), np.asarray(found.test)


def in_rows(apply: Callable[[Any], Any]) -> Judge:
    """A method that takes flat images, as one that takes images."""
    return lambda images: apply(images.reshape(len(images), -1)).reshape(images.shape)


def parted(images: Floats, seed: int) -> list[Floats]:
    """A sixth of images, or of rows, to choose by, and the others."""
    order = np.random.default_rng(seed).permutation(len(images))
    return np.split(images[order], [max(1, round(HELD_OUT * len(images)))])


def components(train: Floats, numbers: int) -> Judge:
    """Principal components."""
    rows = train.reshape(len(train), -1)
    pca = PCA(min(numbers, *rows.shape), random_state=0).fit(rows)
    return in_rows(lambda given: pca.inverse_transform(pca.transform(given)))


def shifted_components(train: Floats, numbers: int, seed: int) -> Judge:
    """Principal components of images and of these moved by a pixel to each side."""
    padded = np.pad(train, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="edge")
    height, width = train.shape[1:3]
    copies = np.concatenate(
        [
            padded[:, down : down + height, right : right + width]
            for down in range(3)
            for right in range(3)
        ]
    )
    random = np.random.default_rng(seed)
    return components(copies[random.permutation(len(copies))[:MOST_COPIES]], numbers)


def kernel_components(train: Floats, numbers: int, seed: int) -> tuple[Judge, str]:
    """Kernel PCA with a radial kernel, as wide and as smooth as suits held-out images."""
    rows = train[:MOST_KERNEL].reshape(min(len(train), MOST_KERNEL), -1)
    judged, seen = parted(rows, seed)
    spread = 1 / (2 * float(seen.var(axis=0).sum()))

    def fitted(given: Floats, gamma: float, alpha: float) -> Pipeline:
        return KernelPCA(
            min(numbers, len(given) - 1), kernel="rbf", gamma=gamma * spread, alpha=alpha,
            fit_inverse_transform=True, random_state=0, eigen_solver="randomized",
        ).fit(given)  # fmt: skip

    def error(setting: tuple[float, float]) -> float:
        model = fitted(seen, *setting)
        return float(np.square(model.inverse_transform(model.transform(judged)) - judged).mean())

    best = min(((gamma, alpha) for gamma in GAMMAS for alpha in ALPHAS), key=error)
    model = fitted(rows, *best)
    return in_rows(lambda given: model.inverse_transform(model.transform(given))), str(best)


def keras_autoencoder(train: Floats, numbers: int, seed: int, epochs: int) -> tuple[Judge, str]:
    """The reference network in plain Keras, with early stopping."""
    from convae.nn.backend import keras

    height, width, depth = train.shape[1:]
    model = ConvAutoencoder.build(width, height, depth, latent_dim=numbers, seed=seed)
    model.compile(optimizer="adam", loss="mse")
    judged, seen = parted(train, seed)
    stop = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    keras.utils.set_random_seed(seed)
    history = model.fit(
        seen, seen, epochs=epochs, validation_data=(judged, judged), callbacks=[stop], verbose=0
    )
    note = f"{len(history.history['loss'])} epochs"
    return lambda images: model.predict(images, batch_size=128, verbose=0), note


def rows_of(name: str, count: int | None, numbers: int, seed: int, quick: bool) -> Iterator[Row]:
    """What each method makes of a set; the cheap ones need one seed only."""
    for method in METHODS if seed == SEEDS[0] else (OURS,):
        yield alone(row_of, method, name, count, numbers, seed, quick)


def row_of(method: str, name: str, count: int | None, numbers: int, seed: int, quick: bool) -> Row:
    """What a method makes of a set."""
    train, test = images_of(name)
    learned, judged = to_float(train[:count]), to_float(test[:NUM_JUDGED])
    epochs = QUICK_EPOCHS if quick else None
    model = ConvAutoencoder(latent_dim=numbers, seed=seed, epochs=epochs)
    if method == UNDISTORTED:
        model.set_params(filters=(32, 64), encoder_passes=1, **asdict(Distortion()))

    def fit() -> tuple[Judge, str]:
        if method == COMPONENTS:
            return components(learned, numbers), ""
        if method == SHIFTED:
            return shifted_components(learned, numbers, seed), ""
        if method == KERNEL:
            return kernel_components(learned, numbers, seed)
        if method == KERAS:
            return keras_autoencoder(learned, numbers, seed, epochs or MOST_EPOCHS)
        model.fit(learned)
        return model.reconstruct, model.augmentation_.told() if model.augmentation_ else ""

    started = time.perf_counter()
    judge, note = fit()
    elapsed_s = time.perf_counter() - started
    refined = None
    if method == OURS and seed == SEEDS[0] and numbers <= MOST_REFINED:
        refined = mse(lambda images: model.reconstruct(images, REFINEMENT_STEPS), judged)
    return {
        "set": name,
        "images": len(learned),
        "shape": list(learned.shape[1:]),
        "latent_dim": numbers,
        "method": method,
        "seed": seed,
        "train_mse": mse(judge, learned[:NUM_JUDGED]),
        "test_mse": mse(judge, judged),
        "refined_test_mse": refined,
        "fit_s": elapsed_s,
        "note": note,
    }


def mse(judge: Judge, images: Floats) -> float:
    """The mean squared error of a method's images, brought to [0, 1]."""
    return float(squared_errors(images, np.clip(judge(images), 0, 1)).mean())


def headline(rows: list[Row]) -> dict[str, float]:
    """The figures that the README may quote."""

    def mean(key: tuple[str, int, int], method: str, value: str) -> float:
        found: list[float] = [
            row[value]
            for row in rows
            if ((row["set"], row["images"], row["latent_dim"]), row["method"]) == (key, method)
        ]
        return statistics.mean(found)

    def ratio(key: tuple[str, int, int], method: str = OURS) -> float:
        return mean(key, method, "test_mse") / mean(key, COMPONENTS, "test_mse")

    sets = list(dict.fromkeys((row["set"], row["images"], row["latent_dim"]) for row in rows))
    keys = {
        "mnist_1000_vs_pca": (MNIST, 1_000, LATENT_DIM),
        "mnist_300_vs_pca": (MNIST, 300, LATENT_DIM),
        "mnist_digit_3_vs_pca": (DIGIT, 1_000, LATENT_DIM),
        "colour_10000_vs_pca": (COLOR, 10_000, LATENT_DIM),
        **{f"colour_10000_{n}_numbers_vs_pca": (COLOR, 10_000, n) for n in MORE_NUMBERS},
    }
    times = [
        row["fit_s"] / other["fit_s"]
        for row in rows
        for other in rows
        if (row["part"], row["method"], other["method"]) == (other["part"], OURS, UNDISTORTED)
    ]
    refined = [row["refined_test_mse"] / row["test_mse"] for row in rows if row["refined_test_mse"]]
    beside = {name: key for name, key in keys.items() if key in sets and key[0] == MNIST}
    return {
        **{name: ratio(key) for name, key in keys.items() if key in sets},
        **{f"keras_{name}": ratio(key, KERAS) for name, key in beside.items()},
        "median_refined_over_plain": statistics.median(refined),
        "worst_row_vs_pca": max(map(ratio, sets)),
        "worst_test_over_train": max(
            (
                mean(key, OURS, "test_mse") / mean(key, OURS, "train_mse")
                for key in sets
                if key[1] >= ENOUGH
            ),
            default=0.0,
        ),
        "worst_time_over_undistorted": max(times),
        "median_time_over_undistorted": statistics.median(times),
    }


def main() -> None:
    """Measure, print, publish."""
    given = row_options(__doc__, "--part", help="only those whose names begin so; needs --rows")
    rows = kept_rows(given.rows)
    seeds, sets = (SEEDS[:1], QUICK_SETS) if given.quick else (SEEDS, SETS)
    parts = {
        f"{name} {count or 'all'}, {numbers} numbers, seed {seed}": rows_of(
            name, count, numbers, seed, given.quick
        )
        for seed in seeds
        for name, count, numbers in sets
    }
    measure_parts(parts, given, rows)
    if not given.part:
        publish("few_images", headline(rows), rows, SEEDS, quick=given.quick)


if __name__ == "__main__":
    main()
