"""New digits of `LatentSampler` beside those of other autoencoders with their samplers, on MNIST.

    python benchmarks/generation.py            # three seeds; hours on 2 cores
    python benchmarks/generation.py --quick    # few images and epochs; writes no result
    python benchmarks/generation.py --rows r.jsonl --part ours    # those alone; rows are kept

10,000 new images, as 8-bit pictures, are held against the 10,000 test images, by the last hidden
layer of a classifier that is trained here on the training images; no sampler sees it, and what was
chosen was chosen by another one, of another seed. `frechet` is the Frechet distance of two
Gaussians (Heusel et al., 2017); `density` and `coverage` are those of Naeem et al., 2020, with 5
neighbors, `precision` and `recall` those of Kynkaanniemi et al., 2019, with 3. Two sets of real
digits do not reach 1 either: the row `training images` says what they reach.

`copies` is the share of new images that are nearer to a training image than 99 of 100 test images
are. `c_t` is the statistic of Meehan, Chaudhuri and Dasgupta, 2020: below -3, new images are nearer
to training images than test images are.

`one Gaussian` and `10 Gaussians` are fitted on the latents of the same autoencoder as ours, without
whitening or choice, those of PCA on its 16 numbers; `flow matching` learns the same latents for as
long as our whole training took. Pythae's models have its networks for MNIST and
16 latents, and are trained for as long as ours; of the samplers that it has for each, the better
one counts (`make .venv-pythae/installed`).
"""

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers.programs import FLOW_MATCHING, PYTHAE, Program, peer_python, write_mnist
from results import keep_rows, kept_rows, publish, row_options
from scipy.stats import mannwhitneyu
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors

from convae import ConvAutoencoder, LatentSampler, load_dataset
from convae.images import to_uint8
from convae.nn.backend import keras

Images = NDArray[np.uint8]
Features = NDArray[np.float32]
Row = dict[str, Any]

SEEDS = [0, 1, 2]
NUM_NEW, QUICK_NEW, QUICK_TRAINED = 10_000, 500, 3_000
LATENT_DIM, PLAIN_COMPONENTS = 16, 10
# That of the classifier; the one to choose by had another.
CLASSIFIER_SEED = 1
CLASSIFIER_EPOCHS = 4
COVERED_BY, RECALLED_BY = 5, 3
NUM_CELLS, FEWEST_IN_A_CELL = 10, 20
REAL, RECONSTRUCTIONS = "training images", "reconstructions"
OURS, ONE, PLAIN = "LatentSampler", "one Gaussian", "10 Gaussians"
BY_LABEL, FLOW = "LatentSampler, by label", "flow matching"
COMPONENTS = "principal components, 10 Gaussians"
VAE, RAE = "Pythae, VAE", "Pythae, RAE-L2"
PARTS = ("ours", "pythae")


class Judge:
    """Holds new images against the test images.

    Args:
        train: Images, and their labels.
        test: Images.
        kept: Where the weights of the classifier are, or will be; None keeps them nowhere.
    """

    def __init__(
        self, train: tuple[Images, NDArray[Any]], test: Images, kept: Path | None = None
    ) -> None:
        self._classifier, self._features_of = classifier()
        if kept is not None and kept.exists():
            with np.load(kept) as arrays:
                self._classifier.set_weights(list(arrays.values()))
        else:
            self._classifier.fit(
                scaled(train[0]), train[1], batch_size=128, epochs=CLASSIFIER_EPOCHS, verbose=0
            )
            if kept is not None:
                np.savez(kept, *self._classifier.get_weights())
        self.train, self.test = self.features(train[0]), self.features(test)
        self._near = NearestNeighbors(n_neighbors=1).fit(self.train)
        self._apart = self._distances(self.test)
        self._cells = KMeans(NUM_CELLS, n_init=1, random_state=0).fit(self.train)

    def accuracy(self, images: Images, labels: NDArray[Any]) -> float:
        """Of the classifier."""
        found = self._classifier.predict(scaled(images), batch_size=500, verbose=0).argmax(axis=1)
        return float((found == labels).mean())

    def weights_hash(self) -> str:
        """Names the classifier."""
        data = b"".join(np.asarray(weight).tobytes() for weight in self._classifier.get_weights())
        return hashlib.sha256(data).hexdigest()[:16]

    def features(self, images: Images) -> Features:
        """float32 `(num_images, 128)`."""
        found = self._features_of.predict(scaled(images), batch_size=500, verbose=0)
        return np.asarray(found, np.float32)

    def figures(self, images: Images) -> dict[str, float]:
        """All that is measured of images."""
        found = self.features(images)
        distances = self._distances(found)
        return {
            "frechet": frechet(found, self.test),
            **neighborhoods(self.test, found),
            "copies": float((distances < np.quantile(self._apart, 0.01)).mean()),
            "c_t": self._c_t(found, distances),
        }

    def _distances(self, features: Features) -> NDArray[np.float64]:
        """To the nearest training image."""
        return np.asarray(self._near.kneighbors(features)[0][:, 0])

    def _c_t(self, features: Features, distances: NDArray[np.float64]) -> float:
        """Whether new images are nearer to training images than test images are, cell by cell."""
        new, test = self._cells.predict(features), self._cells.predict(self.test)
        scores, weights = [], []
        for cell in range(NUM_CELLS):
            ours, theirs = distances[new == cell], self._apart[test == cell]
            if min(len(ours), len(theirs)) < FEWEST_IN_A_CELL:
                continue
            count = len(ours) * len(theirs)
            spread = (count * (len(ours) + len(theirs) + 1) / 12) ** 0.5
            scores.append((float(mannwhitneyu(ours, theirs).statistic) - count / 2) / spread)
            weights.append(len(theirs))
        return float(np.average(scores, weights=weights)) if scores else 0.0


def scaled(images: Images) -> NDArray[np.float32]:
    """As the classifier takes them."""
    return images.reshape(-1, 28, 28, 1).astype(np.float32) / np.float32(255)


def classifier() -> tuple[Any, Any]:
    """A classifier of digits, not trained, and the model that gives its last hidden layer."""
    keras.utils.set_random_seed(CLASSIFIER_SEED)
    layers = keras.layers
    inputs = volume = layers.Input((28, 28, 1))
    for filters in (32, 64):
        volume = layers.Conv2D(filters, 3, padding="same", activation="relu")(volume)
        # Keras's own layer of it takes JAX longer than the convolution.
        side = volume.shape[1] // 2
        volume = keras.ops.max(layers.Reshape((side, 2, side, 2, filters))(volume), axis=(2, 4))
    hidden = layers.Dense(128, activation="relu")(layers.Dropout(0.3)(layers.Flatten()(volume)))
    outputs = layers.Dense(10, activation="softmax")(layers.Dropout(0.5)(hidden))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model, keras.Model(inputs, hidden)


def frechet(one: Features, other: Features) -> float:
    """The Frechet distance of two Gaussians with the moments of features."""
    means = [features.mean(axis=0, dtype=np.float64) for features in (one, other)]
    spreads = [np.cov(features.astype(np.float64).T) for features in (one, other)]
    # The trace of the root of a product of covariances is that of a symmetric matrix.
    values, vectors = np.linalg.eigh(spreads[0])
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    common = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ spreads[1] @ root), 0)).sum()
    away = np.square(means[0] - means[1]).sum()
    return float(away + np.trace(spreads[0] + spreads[1]) - 2 * common)


def neighborhoods(real: Features, new: Features) -> dict[str, float]:
    """Density and coverage, precision and recall."""

    def radii(features: Features, count: int) -> NDArray[np.float64]:
        index = NearestNeighbors(n_neighbors=count + 1).fit(features)
        return np.asarray(index.kneighbors(features)[0][:, -1])

    wide, close = radii(real, COVERED_BY), radii(real, RECALLED_BY)
    own = radii(new, RECALLED_BY)
    density = precise = 0.0
    covered = np.zeros(len(real), bool)
    squares = np.square(real, dtype=np.float64).sum(axis=1)
    recalled = np.zeros(len(real), bool)
    for start in range(0, len(new), 500):
        part = new[start : start + 500]
        cross = np.square(part, dtype=np.float64).sum(axis=1)[:, np.newaxis] + squares
        apart = np.sqrt(np.maximum(cross - 2 * part.astype(np.float64) @ real.T, 0))
        inside = apart <= wide
        density += float(inside.sum()) / COVERED_BY
        covered |= inside.any(axis=0)
        precise += float((apart <= close).any(axis=1).sum())
        recalled |= (apart <= own[start : start + 500, np.newaxis]).any(axis=0)
    return {
        "density": density / len(new),
        "coverage": float(covered.mean()),
        "precision": precise / len(new),
        "recall": float(recalled.mean()),
    }


def our_rows(
    judge: Judge, train: Images, labels: NDArray[Any], test: Images, seed: int, count: int
) -> Iterator[Row]:
    """Ours, and other methods on the same latents."""
    if seed == SEEDS[0]:
        yield row(REAL, seed, 0.0, 0.0, judge.figures(train[:count]))
    started = time.perf_counter()
    model = ConvAutoencoder.from_preset("fast", seed=seed).fit(train)
    sampler = LatentSampler(model, seed=seed).fit(train)
    fit_s = time.perf_counter() - started
    figures = judge.figures(to_uint8(model.reconstruct(test)))
    yield row(RECONSTRUCTIONS, seed, fit_s, 0.0, figures)
    note = f"{len(sampler.mixture_.weights)} Gaussians"
    yield sampled(judge, OURS, seed, fit_s, lambda: sampler.sample(count, seed=seed), note)
    started = time.perf_counter()
    by_label = LatentSampler(model, by_label=True, seed=seed).fit(train, labels)
    label_s = time.perf_counter() - started
    note = f"{len(by_label.mixture_.weights)} Gaussians"
    yield sampled(judge, BY_LABEL, seed, label_s, lambda: by_label.sample(count, seed=seed), note)
    latents = model.transform(train).astype(np.float64)
    yield flow_row(judge, seed, fit_s, latents, model, count)
    for name, number in ((ONE, 1), (PLAIN, PLAIN_COMPONENTS)):
        mixture = GaussianMixture(number, random_state=seed).fit(latents)
        draw = partial(lambda mixture: model.inverse_transform(drawn(mixture, count)), mixture)
        yield sampled(judge, name, seed, fit_s, draw)
    rows = scaled(train).reshape(len(train), -1)
    started = time.perf_counter()
    pca = PCA(LATENT_DIM, random_state=seed).fit(rows)
    mixture = GaussianMixture(PLAIN_COMPONENTS, random_state=seed).fit(pca.transform(rows))
    pca_s = time.perf_counter() - started
    yield sampled(
        judge, COMPONENTS, seed, pca_s,
        lambda: np.clip(pca.inverse_transform(drawn(mixture, count)), 0, 1).reshape(-1, 28, 28, 1),
    )  # fmt: skip


def flow_row(
    judge: Judge,
    seed: int,
    seconds: float,
    latents: NDArray[Any],
    model: ConvAutoencoder,
    count: int,
) -> Row:
    """A flow over the same latents."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "latents.npy", Path(folder) / "new.npy"
        np.save(given, latents)
        command = [
            peer_python("pythae"), FLOW_MATCHING, given, made, "--seconds", seconds,
            "--count", count, "--seed", seed,
        ]  # fmt: skip
        with Program(FLOW, command) as program:
            answer = program.answer()[1]
        figures = judge.figures(to_uint8(model.inverse_transform(np.load(made))))
    return row(FLOW, seed, answer["fit_s"], answer["sample_s"], figures)


def drawn(mixture: GaussianMixture, count: int) -> NDArray[np.float32]:
    """Points of a mixture, in no order."""
    points = mixture.sample(count)[0]
    return np.asarray(np.random.default_rng(0).permutation(points), np.float32)


def sampled(
    judge: Judge, name: str, seed: int, fit_s: float, draw: Callable[[], Any], note: str = ""
) -> Row:
    """The row of a method that draws images."""
    started = time.perf_counter()
    images = draw()
    sample_s = time.perf_counter() - started
    return row(name, seed, fit_s, sample_s, judge.figures(to_uint8(images)), note)


def pythae_rows(judge: Judge, seed: int, count: int, seconds: float, mnist: Path) -> Iterator[Row]:
    """Pythae's models, trained for so long, with the better of their samplers."""
    for name, model in ((VAE, "vae"), (RAE, "rae_l2")):
        with tempfile.TemporaryDirectory() as folder:
            command = [
                peer_python("pythae"), PYTHAE, mnist, folder, "--model", model,
                "--seconds", seconds, "--count", count, "--seed", seed,
            ]  # fmt: skip
            with Program(name, command) as program:
                answer = program.answer()[1]
            found = [
                row(
                    name, seed, answer["fit_s"], answer["sample_s"][sampler],
                    judge.figures(np.load(Path(folder) / f"{sampler}.npy")), sampler,
                )
                for sampler in answer["sample_s"]
            ]  # fmt: skip
        yield min(found, key=lambda each: each["frechet"])


def row(
    name: str, seed: int, fit_s: float, sample_s: float, figures: dict[str, float], note: str = ""
) -> Row:
    """A row of the table."""
    return {
        "method": name, "seed": seed, **figures, "fit_s": fit_s, "sample_s": sample_s, "note": note,
    }  # fmt: skip


def headline(rows: list[Row]) -> dict[str, float]:
    """The figures that the README may quote."""

    def mean(method: str, figure: str) -> float:
        found: list[float] = [each[figure] for each in rows if each["method"] == method]
        return statistics.mean(found)

    ours = mean(OURS, "frechet")
    return {
        "frechet": ours,
        "ratio_to_pythae_rae_l2": ours / mean(RAE, "frechet"),
        "ratio_to_pythae_vae": ours / mean(VAE, "frechet"),
        "ratio_to_plain_mixture": ours / mean(PLAIN, "frechet"),
        "coverage_vs_real": mean(OURS, "coverage") / mean(REAL, "coverage"),
        "c_t": mean(OURS, "c_t"),
        "sample_s": mean(OURS, "sample_s"),
    }


def main() -> None:
    """Train, sample, judge, publish."""
    given = row_options(__doc__, "--part", choices=PARTS)
    dataset = load_dataset("mnist")
    train, test = dataset.train, np.asarray(dataset.test)
    labels, count, seeds = np.asarray(dataset.train_labels), NUM_NEW, SEEDS
    if given.quick:
        train, labels, test = train[:QUICK_TRAINED], labels[:QUICK_TRAINED], test[:QUICK_NEW]
        count, seeds = QUICK_NEW, SEEDS[:1]
    kept_weights = given.rows and given.rows.with_suffix(".classifier.npz")
    judge = Judge((train, labels), test, kept_weights)
    accuracy = judge.accuracy(test, np.asarray(dataset.test_labels)[: len(test)])
    print(f"classifier {judge.weights_hash()}: {accuracy:.4f} of the test images")
    rows = kept_rows(given.rows)
    kept = {(each["part"], each["seed"]) for each in rows}
    with tempfile.TemporaryDirectory() as name:
        mnist = write_mnist(name)
        for part in PARTS:
            for seed in seeds:
                if (part, seed) in kept or (given.part and part != given.part):
                    continue
                if part == "ours":
                    measured = our_rows(judge, train, labels, test, seed, count)
                else:
                    times = [each["fit_s"] for each in rows if each["method"] == OURS]
                    measured = pythae_rows(judge, seed, count, statistics.median(times), mnist)
                found = []
                for each in measured:
                    found.append({"part": part, **each})
                    print(found[-1], flush=True)
                keep_rows(given.rows, found)
                rows += found
    if not given.part:
        publish("generation", headline(rows), rows, seeds, quick=given.quick)


if __name__ == "__main__":
    main()
