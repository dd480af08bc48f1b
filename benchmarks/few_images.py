"""What a folder of few images gets: the defaults, beside methods that cost less, on unseen images.

    python benchmarks/few_images.py            # some hours on 2 cores
    python benchmarks/few_images.py --quick    # two small sets; writes no result
    python benchmarks/few_images.py --rows r.jsonl --part "mnist 1000"    # that alone; kept

Sets are the first images of MNIST, of one of its digits and of small color photographs
(`CONVAE_DATA`/cifar10-sample.npz, all and one kind), normal magnetic tiles
(`CONVAE_DATA`/magnetic-tiles/normal), the digits embedded in scikit-learn, and tiles of the
photographs that come with scikit-image and scikit-learn. All methods keep 16 numbers of an image,
and are judged by the mean squared error of test images; for tiles, of every fifth image.

`ConvAutoencoder` has its defaults. `undistorted` is the network (32, 64) without distortions and
with half of the steps. `Keras` is the same network in plain Keras with Adam, a held-out sixth and
early stopping. `PCA, shifted` is fitted on copies moved by a pixel to each side, too, and kernel
PCA with what suits a held-out sixth.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import compression_photographs
import numpy as np
from data_sets import data_path
from numpy.typing import NDArray
from results import kept_rows, measure_parts, publish, row_options
from sklearn.decomposition import PCA, KernelPCA
from sklearn.pipeline import Pipeline

from convae import ConvAutoencoder, load_dataset
from convae.images import to_float

Row = dict[str, Any]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Judge = Callable[[Floats], Floats]

SEEDS = [0, 1, 2]
LATENT_DIM = 16
MNIST, DIGIT, COLOR, KIND = "mnist", "mnist, one digit", "color", "color, one kind"
TILES, DIGITS, PHOTOGRAPHS = "magnetic tiles", "embedded digits", "photographs"
# The digit and the kind of photograph that are learned alone.
ONE_DIGIT, ONE_KIND = 3, 0
# Each set and its number of images; None takes all.
SETS: list[tuple[str, int | None]] = [
    *((MNIST, count) for count in (12, 30, 100, 300, 1_000, 3_000, 10_000)),
    (DIGIT, 1_000),
    *((COLOR, count) for count in (12, 100, 1_000, 2_000, 10_000)),
    (KIND, 900),
    (TILES, None),
    (DIGITS, None),
    (PHOTOGRAPHS, None),
]
QUICK_SETS: list[tuple[str, int | None]] = [(DIGITS, 40), (DIGITS, 100)]
QUICK_EPOCHS = 5
OURS, UNDISTORTED, KERAS = "ConvAutoencoder", "undistorted", "Keras"
COMPONENTS, SHIFTED, KERNEL = "PCA", "PCA, shifted", "kernel PCA"
NUM_JUDGED = 2_000
# Where seconds decide nothing, PCA sees no more copies, and kernel PCA no more images.
MOST_COPIES, MOST_KERNEL = 10_000, 2_000
HELD_OUT, PATIENCE, MOST_EPOCHS = 1 / 6, 10, 300
GAMMAS, ALPHAS = (0.3, 1.0, 3.0), (1e-3, 1e-2, 1e-1)
# The kinds of images from which on a test error far above the training error is a fault.
ENOUGH = 1_000


@lru_cache(maxsize=1)
def images_of(name: str) -> tuple[Bytes, Bytes]:
    """Training and test images of a set."""
    if name == PHOTOGRAPHS:
        train, judged = compression_photographs.pictures()
        return train, judged[compression_photographs.UNSEEN]
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


def components(train: Floats, _: int) -> tuple[Judge, str]:
    """Principal components."""
    rows = train.reshape(len(train), -1)
    pca = PCA(min(LATENT_DIM, *rows.shape), random_state=0).fit(rows)
    return in_rows(lambda given: pca.inverse_transform(pca.transform(given))), ""


def shifted_components(train: Floats, seed: int) -> tuple[Judge, str]:
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
    return components(copies[random.permutation(len(copies))[:MOST_COPIES]], seed)


def kernel_components(train: Floats, seed: int) -> tuple[Judge, str]:
    """Kernel PCA with a radial kernel, as wide and as smooth as suits held-out images."""
    rows = train[:MOST_KERNEL].reshape(min(len(train), MOST_KERNEL), -1)
    judged, seen = parted(rows, seed)
    spread = 1 / (2 * float(seen.var(axis=0).sum()))

    def fitted(given: Floats, gamma: float, alpha: float) -> Pipeline:
        return KernelPCA(
            min(LATENT_DIM, len(given) - 1), kernel="rbf", gamma=gamma * spread, alpha=alpha,
            fit_inverse_transform=True, random_state=0, eigen_solver="randomized",
        ).fit(given)  # fmt: skip

    def error(setting: tuple[float, float]) -> float:
        model = fitted(seen, *setting)
        return float(np.square(model.inverse_transform(model.transform(judged)) - judged).mean())

    best = min(((gamma, alpha) for gamma in GAMMAS for alpha in ALPHAS), key=error)
    model = fitted(rows, *best)
    return in_rows(lambda given: model.inverse_transform(model.transform(given))), str(best)


def keras_autoencoder(train: Floats, seed: int, epochs: int) -> tuple[Judge, str]:
    """The reference network in plain Keras, with early stopping."""
    from convae.nn.backend import keras

    height, width, depth = train.shape[1:]
    model = ConvAutoencoder.build(width, height, depth, seed=seed)
    model.compile(optimizer="adam", loss="mse")
    judged, seen = parted(train, seed)
    stop = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    keras.utils.set_random_seed(seed)
    history = model.fit(
        seen, seen, epochs=epochs, validation_data=(judged, judged), callbacks=[stop], verbose=0
    )
    note = f"{len(history.history['loss'])} epochs"
    return lambda images: model.predict(images, batch_size=128, verbose=0), note


def ours(train: Floats, seed: int, **settings: Any) -> tuple[Judge, str]:  # noqa: ANN401
    """The autoencoder."""
    model = ConvAutoencoder(seed=seed, **settings).fit(train)
    chosen = model.augmentation_
    return model.reconstruct, chosen.told() if chosen else ""


def rows_of(name: str, count: int | None, seed: int, *, quick: bool) -> Iterator[Row]:
    """What each method makes of a set; the cheap ones need one seed only."""
    train, test = images_of(name)
    learned, judged = to_float(train[:count]), to_float(test[:NUM_JUDGED])
    epochs = {"epochs": QUICK_EPOCHS} if quick else {}
    plain = {"filters": (32, 64), "translation": 0, "warp": 0.0, "flip": "none", **epochs}
    methods: dict[str, Callable[[], tuple[Judge, str]]] = {
        COMPONENTS: lambda: components(learned, seed),
        SHIFTED: lambda: shifted_components(learned, seed),
        KERNEL: lambda: kernel_components(learned, seed),
        KERAS: lambda: keras_autoencoder(learned, seed, QUICK_EPOCHS if quick else MOST_EPOCHS),
        UNDISTORTED: lambda: ours(learned, seed, **plain),
    }
    methods = (methods if seed == SEEDS[0] else {}) | {OURS: lambda: ours(learned, seed, **epochs)}
    for method, fit in methods.items():
        started = time.perf_counter()
        judge, note = fit()
        elapsed_s = time.perf_counter() - started
        errors = [
            float(np.square(np.clip(judge(images), 0, 1) - images, dtype=np.float64).mean())
            for images in (learned[:NUM_JUDGED], judged)
        ]
        yield {
            "set": name,
            "images": len(learned),
            "shape": list(learned.shape[1:]),
            "method": method,
            "seed": seed,
            "train_mse": errors[0],
            "test_mse": errors[1],
            "fit_s": elapsed_s,
            "note": note,
        }


def headline(rows: list[Row]) -> dict[str, float]:
    """The figures that the README may quote."""

    def mse(name: str, images: int, method: str) -> float:
        found: list[float] = [
            row["test_mse"]
            for row in rows
            if (row["set"], row["images"], row["method"]) == (name, images, method)
        ]
        return statistics.mean(found)

    def ratio(name: str, images: int) -> float:
        return mse(name, images, OURS) / mse(name, images, COMPONENTS)

    sets = sorted({(row["set"], row["images"]) for row in rows})
    found = {f"vs_pca, {name}, {images}": ratio(name, images) for name, images in sets}
    large = [row for row in rows if row["method"] == OURS and row["images"] >= ENOUGH]
    keys = {
        "mnist_1000_vs_pca": (MNIST, 1_000),
        "mnist_300_vs_pca": (MNIST, 300),
        "colour_10000_vs_pca": (COLOR, 10_000),
    }
    return {
        **{key: ratio(*each) for key, each in keys.items() if each in sets},
        "worst_row_vs_pca": max(found.values()),
        "worst_test_over_train": max(
            (row["test_mse"] / row["train_mse"] for row in large), default=0.0
        ),
    }


def main() -> None:
    """Measure, print, publish."""
    given = row_options(__doc__, "--part", help="only those whose names begin so; needs --rows")
    rows = kept_rows(given.rows)
    seeds, sets = (SEEDS[:1], QUICK_SETS) if given.quick else (SEEDS, SETS)
    parts = {
        f"{name} {count or 'all'} {seed}": rows_of(name, count, seed, quick=given.quick)
        for seed in seeds
        for name, count in sets
    }
    measure_parts(parts, given, rows)
    if not given.part:
        publish("few_images", headline(rows), rows, SEEDS, quick=given.quick)


if __name__ == "__main__":
    main()
