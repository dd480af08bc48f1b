"""Noise taken away from images that nobody trained on: ours, and cheap and classical methods.

    python benchmarks/denoising.py            # three seeds of ours; two hours on 2 cores
    python benchmarks/denoising.py --quick    # few steps, few images; writes no result
    python benchmarks/denoising.py --rows r.jsonl --part cheap    # those alone; rows are kept

Images are clean ones, with made-up noise, clipped and rounded to 8 bits. The digits of MNIST and
small color photographs (`CONVAE_DATA`/cifar10-sample.npz) are the first 500 test images.

Ours is told the kind of noise and the strongest that there is (0.8 and 0.25; salt and pepper 0.4),
and is trained once for all strengths of a kind. The others are told the strength of the images that
they are judged on, and what they can be set to is chosen for it, on 100 training images that no
method is fitted on. BM3D is in an environment of its own (`make .venv-bm3d/installed`). The network
of the Keras example (two convolutions of 32 filters with pooling, and back) is trained for one
strength, for as long as ours is for all; `specialist` is our network trained for one strength.
PSNR is that of the mean squared error over all images; `mean_psnr_db` is the mean over images.
"""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers.programs import FOLDER, peer_python
from results import keep_rows, kept_rows, publish, row_options
from scipy.ndimage import median_filter
from skimage import restoration
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from convae import ConvAutoencoder, Denoiser, add_noise, load_dataset
from convae.baselines.linear_filter import LinearFilter
from convae.images.metrics import psnr_db, ssim
from convae.jobs.denoise import DEFAULT_STEPS

Floats = NDArray[np.float32]
Row = dict[str, Any]
Method = Callable[[Floats], Floats]

SEEDS = [0, 1, 2]
DIGITS, PHOTOGRAPHS = "mnist", "cifar10-sample"
GAUSSIAN, GRAINS = "gaussian", "salt-and-pepper"
NUM_JUDGED, NUM_CHOOSING, NUM_LEARNED = 500, 100, 10_000
QUICK_JUDGED, QUICK_STEPS = 40, 60
# What is judged; and for each kind of noise the strongest that ours is trained with.
CASES = [
    (DIGITS, GAUSSIAN, 0.25),
    (DIGITS, GAUSSIAN, 0.5),
    (DIGITS, GAUSSIAN, 0.75),
    (DIGITS, GRAINS, 0.1),
    (DIGITS, GRAINS, 0.3),
    (PHOTOGRAPHS, GAUSSIAN, 25 / 255),
    (PHOTOGRAPHS, GAUSSIAN, 50 / 255),
]
STRONGEST = {(DIGITS, GAUSSIAN): 0.8, (DIGITS, GRAINS): 0.4, (PHOTOGRAPHS, GAUSSIAN): 0.25}
OURS, SPECIALIST, KERAS_EXAMPLE = "Denoiser", "specialist", "Keras example"
NOISY, BM3D, LINEAR = "noisy", "BM3D", "linear filter"
PARTS = ("cheap", "bm3d", "ours", "specialist", "keras")
# The strength that specialists are trained for.
SPECIAL = (DIGITS, GAUSSIAN, 0.5)


class Case:
    """Images of a set with noise of a strength.

    Args:
        name: The set.
        noise: The kind.
        strength: Of it.
        quick: Whether few images are judged.
    """

    def __init__(self, name: str, noise: str, strength: float, *, quick: bool) -> None:
        self.name, self.noise, self.strength = name, noise, strength
        train, test = images_of(name)
        self.train = train
        self.judged = as_floats(test[: QUICK_JUDGED if quick else NUM_JUDGED])
        self.noisy = self.with_noise(self.judged, 0)
        self.choosing = as_floats(train[-NUM_CHOOSING:])
        self.noisy_choosing = self.with_noise(self.choosing, 1)
        self.learned = as_floats(train[:-NUM_CHOOSING][: 1_000 if quick else NUM_LEARNED])
        self.noisy_learned = self.with_noise(self.learned, 2)

    def with_noise(self, images: Floats, seed: int) -> Floats:
        """Images with the noise, as files of 8 bits have them."""
        random = np.random.default_rng([seed, len(images)])
        found = np.rint(255 * add_noise(images, self.noise, self.strength, random))
        return (found / 255).astype(np.float32)

    def row(self, method: str, apply: Method, note: str = "", **figures: Any) -> Row:  # noqa: ANN401
        """What a method makes of the images."""
        started = time.perf_counter()
        found = apply(self.noisy)
        elapsed_s = time.perf_counter() - started
        errors = np.square(found - self.judged, dtype=np.float64).mean(axis=(1, 2, 3))
        return {
            "set": self.name,
            "noise": self.noise,
            "strength": round(self.strength, 4),
            "method": method,
            "seed": 0,
            "psnr_db": psnr_db(float(errors.mean())),
            "mean_psnr_db": float(np.mean([psnr_db(error) for error in errors])),
            "ssim": float(ssim(self.judged, np.clip(found, 0, 1)).mean()),
            "parameters": 0,
            "fit_s": 0.0,
            "ms_an_image": 1000 * elapsed_s / len(found),
            "note": note,
            **figures,
        }

    def best(self, make: Callable[..., Method], settings: Iterable[Any]) -> tuple[Method, str]:
        """The setting with the least squared error on the images that choose, and which it is."""
        found = []
        for setting in settings:
            apply = make(setting)
            error = float(np.square(apply(self.noisy_choosing) - self.choosing).mean())
            found.append((error, str(setting), apply))
        _, note, apply = min(found, key=lambda each: each[:2])
        return apply, note


def images_of(name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Training and test images of a set."""
    dataset = load_dataset(name if name == DIGITS else data_path(f"{name}.npz"))
    return dataset.train, np.asarray(dataset.test)


def data_path(name: str) -> Path:
    """A file of the folder that CONVAE_DATA names.

    Raises:
        SystemExit: It is not there.
    """
    path = Path(os.environ.get("CONVAE_DATA", ".")) / name
    if not path.exists():
        raise SystemExit(f"Photographs are needed; {path} is missing. Set CONVAE_DATA.")
    return path


def as_floats(images: NDArray[np.uint8]) -> Floats:
    """In [0, 1]."""
    return images.astype(np.float32) / np.float32(255)


def one_by_one(apply: Callable[[Floats], Any], images: Floats) -> Floats:
    """What a method for a single image makes of each."""
    gray = images.shape[3] == 1
    found = [apply(image[..., 0] if gray else image) for image in images]
    return np.stack(found).reshape(images.shape).astype(np.float32)


def medians(size: int) -> Method:
    """Of so many pixels in each direction."""
    return lambda images: np.asarray(median_filter(images, size=(1, size, size, 1)))


def total_variation(weight: float) -> Method:
    """Chambolle's."""
    denoise = partial(restoration.denoise_tv_chambolle, weight=weight)
    return lambda images: one_by_one(
        lambda image: denoise(image, channel_axis=None if image.ndim == 2 else -1), images
    )


def non_local_means(strength: float, share: float) -> Method:
    """With patches of 5 x 5, cut off at a share of the strength."""

    def apply(image: Floats) -> Any:  # noqa: ANN401 # an array
        return restoration.denoise_nl_means(
            image, patch_size=5, patch_distance=9, h=share * strength, sigma=strength,
            channel_axis=None if image.ndim == 2 else -1,
        )  # fmt: skip

    return lambda images: one_by_one(apply, images)


def wavelets(strength: float, share: float) -> Method:
    """With thresholds for a share of the strength."""

    def apply(image: Floats) -> Any:  # noqa: ANN401 # an array
        return restoration.denoise_wavelet(
            image, sigma=share * strength, rescale_sigma=True,
            channel_axis=None if image.ndim == 2 else -1,
        )  # fmt: skip

    return lambda images: one_by_one(apply, images)


def components(clean: Floats, count: int) -> Method:
    """The projection to the first principal components of clean images."""
    pca = PCA(count, random_state=0).fit(clean.reshape(len(clean), -1))

    def apply(images: Floats) -> Floats:
        rows = images.reshape(len(images), -1)
        found: Floats = pca.inverse_transform(pca.transform(rows))
        return found.reshape(images.shape)

    return apply


def nearest(clean: Floats, noisy: Floats, count: int) -> Method:
    """The mean of the clean training images whose noisy versions are nearest."""
    index = NearestNeighbors(n_neighbors=count).fit(noisy.reshape(len(noisy), -1))

    def apply(images: Floats) -> Floats:
        found = index.kneighbors(images.reshape(len(images), -1), return_distance=False)
        return np.asarray(clean[found].mean(axis=1))

    return apply


def linear_map(clean: Floats, noisy: Floats, ridge: float) -> Method:
    """Least squares from all pixels of a noisy image to all of the clean one."""
    rows = noisy.reshape(len(noisy), -1).astype(np.float64)
    targets = clean.reshape(len(clean), -1).astype(np.float64)
    center, middle = rows.mean(axis=0), targets.mean(axis=0)
    squares = (rows - center).T @ (rows - center)
    size = ridge * np.trace(squares) / len(squares)
    matrix = np.linalg.solve(
        squares + size * np.eye(len(squares)), (rows - center).T @ (targets - middle)
    )
    return lambda images: (
        ((images.reshape(len(images), -1) - center) @ matrix + middle)
        .reshape(images.shape).astype(np.float32)
    )  # fmt: skip


def cheap_rows(case: Case) -> Iterator[Row]:
    """The methods without a network."""
    strength, learned = case.strength, (case.learned, case.noisy_learned)
    yield case.row(NOISY, lambda images: images)
    makes: dict[str, tuple[Callable[..., Method], Iterable[Any]]] = {
        "median": (medians, (3, 5, 7)),
        "total variation": (total_variation, (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)),
        "non-local means": (partial(non_local_means, strength), (0.4, 0.6, 0.8, 1.0, 1.3)),
        "wavelets": (partial(wavelets, strength), (0.5, 0.75, 1.0, 1.5, 2.0)),
        "principal components": (partial(components, case.learned), (8, 16, 32, 64, 128)),
        "nearest training images": (partial(nearest, *learned), (1, 5, 20, 50)),
        "linear map": (partial(linear_map, *learned), (1e-4, 1e-3, 1e-2, 1e-1)),
    }
    for name, (make, settings) in makes.items():
        yield case.row(name, *case.best(make, settings))
    yield case.row(LINEAR, LinearFilter.fit(case.noisy_learned, case.learned).apply)


def bm3d_rows(case: Case) -> Iterator[Row]:
    """BM3D, and CBM3D for color, told a share of the strength that suits the clipped noise."""
    if case.noise != GAUSSIAN:
        return

    def make(share: float) -> Method:
        return lambda images: in_bm3d(images, share * case.strength)

    yield case.row(BM3D, *case.best(make, (0.6, 0.8, 1.0, 1.3)))


def in_bm3d(images: Floats, strength: float) -> Floats:
    """What BM3D makes of images, in its own environment."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "images.npy"
        np.save(path, images)
        script = FOLDER / "bm3d_images.py"
        command = [peer_python("bm3d"), str(script), str(path), str(strength)]
        subprocess.run(command, check=True)
        found: Floats = np.load(path)
    return found


def ours_rows(cases: list[Case], seed: int, steps: int) -> Iterator[Row]:
    """One denoiser for all strengths of a kind; and a clean picture, back."""
    first = cases[0]
    strongest = STRONGEST[first.name, first.noise]
    autoencoder = ConvAutoencoder(filters=(4,), latent_dim=2, epochs=1)
    autoencoder.fit(first.train[:100])
    model = Denoiser(autoencoder, noise=first.noise, strength=strongest, steps=steps, seed=seed)
    started = time.perf_counter()
    model.fit(first.train)
    figures: dict[str, Any] = {
        "seed": seed,
        "parameters": model.trained_.plan.num_parameters,
        "fit_s": time.perf_counter() - started,
    }
    for case in cases:
        note = ""
        if case.noise == GAUSSIAN:
            note = f"noise level {float(np.mean(model.noise_levels(case.noisy))):.4f}"
        yield case.row(OURS, model.denoise, note, **figures)
    clean = first.row(OURS, lambda _: model.denoise(first.judged), "a clean picture", **figures)
    yield {**clean, "strength": 0.0}


def specialist_rows(case: Case, steps: int) -> Iterator[Row]:
    """Our network, trained for one strength alone."""
    from convae.architecture.unet import UNet
    from convae.jobs.denoise import denoiser as module
    from convae.jobs.denoise.stored import TrainedUNet
    from convae.nn.unet import train_unet

    channels = case.judged.shape[3]
    plan = UNet(channels, channels, module.WIDTHS, module.BLOCKS)
    clean = as_floats(case.train[:-NUM_CHOOSING])
    random = np.random.default_rng(3)
    count = module.BATCH_PIXELS // (clean.shape[1] * clean.shape[2])

    def batches() -> Iterator[tuple[Floats, Floats]]:
        for _ in range(steps):
            batch = clean[random.integers(len(clean), size=count)]
            noisy = add_noise(batch, case.noise, case.strength, random)
            yield (np.rint(noisy * 255) / 255).astype(np.float32), batch

    started = time.perf_counter()
    weights = train_unet(plan, batches(), steps, 0)
    elapsed_s = time.perf_counter() - started
    model = Denoiser()
    model.trained_ = TrainedUNet(plan, weights, case.noise, case.strength, ())
    figures: dict[str, Any] = {"parameters": plan.num_parameters, "fit_s": elapsed_s}
    yield case.row(SPECIALIST, model.denoise, **figures)


def keras_rows(case: Case, seconds: float) -> Iterator[Row]:
    """The convolutional denoiser of the well-known example of Keras, trained for so long."""
    from convae.nn.backend import keras

    layers = keras.layers
    side, channels = case.judged.shape[1], case.judged.shape[3]
    inputs = volume = layers.Input((side, side, channels))
    for _ in range(2):
        volume = layers.Conv2D(32, 3, activation="relu", padding="same")(volume)
        volume = layers.MaxPooling2D(2, padding="same")(volume)
    for _ in range(2):
        volume = layers.Conv2DTranspose(32, 3, strides=2, activation="relu", padding="same")(volume)
    outputs = layers.Conv2D(channels, 3, activation="sigmoid", padding="same")(volume)
    model = keras.Model(inputs, outputs)
    model.compile(optimizer="adam", loss="binary_crossentropy")
    clean = as_floats(case.train[:-NUM_CHOOSING])
    random = np.random.default_rng(3)
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        batch = clean[random.integers(len(clean), size=128)]
        model.train_on_batch(add_noise(batch, case.noise, case.strength, random), batch)
        steps += 1
    figures = {"parameters": model.count_params(), "fit_s": time.perf_counter() - started}
    apply = partial(model.predict, batch_size=128, verbose=0)
    yield case.row(KERAS_EXAMPLE, apply, f"{steps} steps", **figures)


def measured(part: str, cases: list[Case], known: list[Row], *, quick: bool) -> Iterator[Row]:
    """The rows of a part."""
    steps = QUICK_STEPS if quick else DEFAULT_STEPS
    special = next(case for case in cases if (case.name, case.noise, case.strength) == SPECIAL)
    if part in ("cheap", "bm3d"):
        rows = {"cheap": cheap_rows, "bm3d": bm3d_rows}[part]
        for case in cases:
            yield from rows(case)
    elif part == "ours":
        for (name, noise), seed in product(STRONGEST, SEEDS[:1] if quick else SEEDS):
            alike = [case for case in cases if (case.name, case.noise) == (name, noise)]
            yield from ours_rows(alike, seed, steps)
    elif part == "specialist":
        yield from specialist_rows(special, steps)
    else:
        times = [row["fit_s"] for row in known if row["method"] == OURS and row["set"] == DIGITS]
        yield from keras_rows(special, statistics.median(times))


def headline(rows: list[Row]) -> dict[str, float]:
    """The figures that the README may quote."""

    def of(method: str, case: tuple[str, str, float]) -> float:
        found: list[float] = [
            row["psnr_db"]
            for row in rows
            if row["method"] == method
            and (row["set"], row["noise"], row["strength"]) == (*case[:2], round(case[2], 4))
        ]
        return statistics.mean(found)

    special = (*SPECIAL[:2], round(SPECIAL[2], 4))
    cheap = max(
        row["psnr_db"]
        for row in rows
        if (row["set"], row["noise"], row["strength"]) == special
        and row["method"] not in (OURS, SPECIALIST, KERAS_EXAMPLE)
    )
    color = (PHOTOGRAPHS, GAUSSIAN, 50 / 255)
    ours = of(OURS, SPECIAL)
    return {
        "psnr_db_sigma_050": ours,
        "gain_over_best_cheap_db": ours - cheap,
        "gain_over_keras_example_db": ours - of(KERAS_EXAMPLE, SPECIAL),
        "loss_to_a_specialist_db": of(SPECIALIST, SPECIAL) - ours,
        "clean_psnr_db": of(OURS, (DIGITS, GAUSSIAN, 0.0)),
        "colour_gain_over_bm3d_db": of(OURS, color) - of(BM3D, color),
    }


def main() -> None:
    """Measure, print, publish."""
    given = row_options(__doc__, "--part", choices=PARTS)
    cases = [Case(*case, quick=given.quick) for case in CASES]
    rows = kept_rows(given.rows)
    kept = {row["part"] for row in rows}
    for part in PARTS:
        if part in kept or (given.part and part != given.part):
            continue
        found = []
        for row in measured(part, cases, rows, quick=given.quick):
            found.append({"part": part, **row})
            print(found[-1], flush=True)
        keep_rows(given.rows, found)
        rows += found
    if not given.part:
        publish("denoising", headline(rows), rows, SEEDS, quick=given.quick)


if __name__ == "__main__":
    main()
