"""Noise taken away from images that nobody trained on: ours, and cheap and classical methods.

    python benchmarks/denoising.py            # hours on 2 cores
    python benchmarks/denoising.py --quick    # few steps, few images; writes no result
    python benchmarks/denoising.py --rows r.jsonl --part cheap    # those alone; rows are kept

Images are clean ones, with made-up noise, clipped and rounded to 8 bits: the first 500 test images
of MNIST, small color photographs (`CONVAE_DATA`/cifar10-sample.npz), and tiles of the photographs
that come with scikit-image and scikit-learn, as `compression_photographs` cuts them.

Ours is told the kind of noise and the strongest that there is (0.8 and 0.25; salt and pepper 0.4),
and is trained once for all strengths of a kind. The others are told the strength of the images that
they are judged on, and what they can be set to is chosen for it, on 100 training images (BM3D: 25)
that no method is fitted on. BM3D takes seconds for an image, so it is judged on the first 100
alone, and so is ours beside it; it is in an environment of its own (`make .venv-bm3d/installed`).

`blind` is ours, from noisy images alone. Of our own network, `specialist` is trained for one
strength, `ten times larger` too, and `Noise2Void's loss` as that method has it: from noisy images
alone, with the squared error at values that were replaced by neighbors. The network of the Keras
example (two convolutions of 32 filters with pooling, and back) is trained for one strength, for as
long as ours is for all. `16 numbers` is our autoencoder, trained from noisy to clean images, for as
long as the specialist of 2,000 steps. PSNR is that of the mean squared error over all images;
`mean_psnr_db` is the mean over images.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from functools import cached_property, lru_cache, partial
from itertools import islice
from typing import Any

import compression_photographs
import numpy as np
from data_sets import data_path
from numpy.typing import NDArray
from peers.denoisers import (
    Floats,
    Method,
    components,
    in_bm3d,
    linear_map,
    medians,
    nearest,
    non_local_means,
    total_variation,
    wavelets,
)
from results import kept_rows, measure_parts, publish, row_options

from convae import ConvAutoencoder, Denoiser, load_dataset
from convae.architecture.unet import UNet
from convae.baselines.linear_filter import LinearFilter
from convae.images import to_float
from convae.images.metrics import psnr_db, ssim
from convae.jobs.denoise import DEFAULT_STEPS
from convae.jobs.denoise import denoiser as ours
from convae.jobs.denoise.noise import add_noise
from convae.jobs.denoise.stored import TrainedUNet

Row = dict[str, Any]
Batches = Iterator[tuple[Floats, Floats]]
# A set, a kind of noise, and its strength.
Key = tuple[str, str, float]

SEEDS = [0, 1, 2]
DIGITS, PHOTOGRAPHS, TILES = "mnist", "cifar10-sample", "tiles"
GAUSSIAN, GRAINS = "gaussian", "salt-and-pepper"
NUM_JUDGED, NUM_CHOOSING, NUM_QUICK = 500, 100, 1_000
# Images to choose by and to judge, where a method takes seconds for each.
NUM_SLOWLY, NUM_FEW = 25, 100
QUICK_JUDGED, QUICK_STEPS = 40, 60
# What is judged; and for each kind of noise the strongest that ours is trained with, and the seeds.
CASES = [
    (DIGITS, GAUSSIAN, 0.25),
    (DIGITS, GAUSSIAN, 0.5),
    (DIGITS, GAUSSIAN, 0.75),
    (DIGITS, GRAINS, 0.1),
    (DIGITS, GRAINS, 0.3),
    (PHOTOGRAPHS, GAUSSIAN, 25 / 255),
    (PHOTOGRAPHS, GAUSSIAN, 50 / 255),
    (TILES, GAUSSIAN, 50 / 255),
]
TRAININGS = {
    (DIGITS, GAUSSIAN): (0.8, SEEDS),
    (PHOTOGRAPHS, GAUSSIAN): (0.25, SEEDS),
    (DIGITS, GRAINS): (0.4, SEEDS[:1]),
    (TILES, GAUSSIAN): (0.25, SEEDS[:1]),
}
NOISY, BM3D, LINEAR = "noisy", "BM3D", "linear filter"
OURS, BLIND, SPECIALIST, LARGE = "Denoiser", "Denoiser, blind", "specialist", "ten times larger"
NOISE2VOID, KERAS_EXAMPLE = "Noise2Void's loss", "Keras example"
SHORT, BOTTLENECK = "specialist, 2,000 steps", "16 numbers"
# Those with a network; all others are cheap.
TRAINED = (OURS, BLIND, SPECIALIST, LARGE, NOISE2VOID, KERAS_EXAMPLE, SHORT, BOTTLENECK)
# The strength that single networks are trained for; where noise is enormous; and what blind ones
# are trained with.
SPECIAL = (DIGITS, GAUSSIAN, 0.5)
ENORMOUS = ((DIGITS, GAUSSIAN, 0.5), (DIGITS, GAUSSIAN, 1.0), (DIGITS, GAUSSIAN, 2.0))
BLINDLY = {SPECIAL: SEEDS, (PHOTOGRAPHS, GAUSSIAN, 50 / 255): SEEDS[:1]}
SHORT_STEPS, LARGE_WIDTHS = 2_000, (104, 208)
# The share of values that Noise2Void judges at a time, and how far away their replacements are.
REPLACED, NEAR = 0.02, 2


def rounded(name: str, noise: str, strength: float) -> Key:
    """A case as its rows name it."""
    return name, noise, round(strength, 4)


def few_of(name: str) -> str:
    """What the rows of the first images alone call a set."""
    return f"{name}, first {NUM_FEW}"


def key_of(row: Row) -> Key:
    """The case of a row."""
    return row["set"], row["noise"], row["strength"]


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
        self.judged = to_float(test[: QUICK_JUDGED if quick else NUM_JUDGED])
        self.noisy = self.with_noise(self.judged, 0)
        self.choosing = to_float(train[-NUM_CHOOSING:])
        self.noisy_choosing = self.with_noise(self.choosing, 1)
        self.num_learned = NUM_QUICK if quick else None

    def few(self) -> "Case":
        """The same, judged on the first images alone; its rows name another set."""
        found = copy(self)
        found.name = few_of(self.name)
        found.judged, found.noisy = self.judged[:NUM_FEW], self.noisy[:NUM_FEW]
        return found

    @cached_property
    def pairs(self) -> tuple[Floats, Floats]:
        """Clean training images, and noisy ones."""
        clean = to_float(self.train[:-NUM_CHOOSING][: self.num_learned])
        return clean, self.with_noise(clean, 2)

    def has(self, row: Row) -> bool:
        """Whether a row is of this case."""
        return key_of(row) == rounded(self.name, self.noise, self.strength)

    def with_noise(self, images: Floats, seed: int) -> Floats:
        """Images with the noise, as files of 8 bits have them."""
        random = np.random.default_rng([seed, len(images)])
        return with_noise(images, self.noise, self.strength, random)

    def row(self, method: str, apply: Method, note: str = "", **figures: Any) -> Row:  # noqa: ANN401
        """What a method makes of the images."""
        started = time.perf_counter()
        found = apply(self.noisy)
        elapsed_s = time.perf_counter() - started
        errors = np.square(found - self.judged, dtype=np.float64).mean(axis=(1, 2, 3))
        return {
            "set": self.name,
            "noise": self.noise,
            "strength": rounded(self.name, self.noise, self.strength)[2],
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

    def best(
        self, make: Callable[..., Method], settings: Iterable[Any], num_images: int = NUM_CHOOSING
    ) -> tuple[Method, str]:
        """The setting with the least squared error on images that choose, and which it is."""
        clean, noisy = self.choosing[:num_images], self.noisy_choosing[:num_images]
        found = []
        for setting in settings:
            apply = make(setting)
            error = float(np.square(apply(noisy) - clean).mean())
            found.append((error, str(setting), apply))
        _, note, apply = min(found, key=lambda each: each[:2])
        return apply, note


def with_noise(images: Floats, noise: str, strength: float, random: np.random.Generator) -> Floats:
    """Images with noise, as files of 8 bits have them."""
    if noise == GAUSSIAN and strength > 1:  # stronger than what a denoiser may be trained with
        grains = random.standard_normal(images.shape, np.float32)
        noisy = np.clip(images + np.float32(strength) * grains, 0, 1)
    else:
        noisy = add_noise(images, noise, strength, random)
    found: Floats = (np.rint(255 * noisy) / 255).astype(np.float32)
    return found


@lru_cache
def images_of(name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Training and test images of a set."""
    if name == TILES:
        train, judged = compression_photographs.pictures()
        return train, judged[compression_photographs.UNSEEN]
    dataset = load_dataset(name if name == DIGITS else data_path(f"{name}.npz"))
    return dataset.train, np.asarray(dataset.test)


def cheap_rows(case: Case) -> Iterator[Row]:
    """The methods without a network."""
    strength, (clean, noisy) = case.strength, case.pairs
    yield case.row(NOISY, lambda images: images)
    makes: dict[str, tuple[Callable[..., Method], Iterable[Any]]] = {
        "median": (medians, (3, 5, 7)),
        "total variation": (total_variation, (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)),
        "non-local means": (partial(non_local_means, strength), (0.4, 0.6, 0.8, 1.0, 1.3)),
        "wavelets": (partial(wavelets, strength), (0.5, 0.75, 1.0, 1.5, 2.0)),
        "principal components": (partial(components, clean), (8, 16, 32, 64, 128)),
        "nearest training images": (partial(nearest, clean, noisy), (1, 5, 20, 50)),
        "linear map": (partial(linear_map, clean, noisy), (1e-4, 1e-3, 1e-2, 1e-1)),
    }
    for name, (make, settings) in makes.items():
        yield case.row(name, *case.best(make, settings))
    yield case.row(LINEAR, LinearFilter.fit(noisy, clean).apply)


def bm3d_rows(case: Case) -> Iterator[Row]:
    """BM3D, and CBM3D for color, told a share of the strength that suits the clipped noise."""
    if case.noise != GAUSSIAN:
        return

    def make(share: float) -> Method:
        return lambda images: in_bm3d(images, share * case.strength)

    yield case.few().row(BM3D, *case.best(make, (0.6, 0.8, 1.0, 1.3), NUM_SLOWLY))


def fitted(case: Case, images: NDArray[np.uint8], **options: Any) -> tuple[Denoiser, Row]:  # noqa: ANN401
    """A denoiser that was trained on images, and what that took."""
    autoencoder = ConvAutoencoder(filters=(4,), latent_dim=2, epochs=1).fit(images[:100])
    model = Denoiser(autoencoder, noise=case.noise, **options)
    started = time.perf_counter()
    model.fit(images)
    elapsed_s = time.perf_counter() - started
    parameters = model.trained_.plan.num_parameters
    return model, {"seed": model.seed, "parameters": parameters, "fit_s": elapsed_s}


def our_rows(cases: list[Case], strongest: float, seed: int, steps: int) -> Iterator[Row]:
    """One denoiser for all strengths of a kind; and a clean picture, back."""
    first = cases[0]
    model, figures = fitted(first, first.train, strength=strongest, steps=steps, seed=seed)
    for case in cases:
        note = ""
        if case.noise == GAUSSIAN:
            note = f"noise level {float(np.mean(model.noise_levels(case.noisy))):.4f}"
        yield case.row(OURS, model.denoise, note, **figures)
        if case.noise == GAUSSIAN:
            yield case.few().row(OURS, model.denoise, "", **figures)
    clean = first.row(OURS, lambda _: model.denoise(first.judged), "a clean picture", **figures)
    yield {**clean, "strength": 0.0}


def blind_rows(case: Case, seed: int, steps: int) -> Iterator[Row]:
    """Ours, from noisy images alone."""
    noisy = np.rint(255 * case.with_noise(to_float(case.train), 4)).astype(np.uint8)
    model, figures = fitted(case, noisy, blind=True, steps=steps, seed=seed)
    note = f"noise level {model.trained_.strength:.4f}"
    yield case.row(BLIND, model.denoise, note, **figures)


def network_rows(
    name: str, case: Case, batches: Batches, steps: int, widths: tuple[int, ...] = ours.WIDTHS
) -> Iterator[Row]:
    """Our network, trained on pairs."""
    from convae.nn.unet import train_unet

    channels = case.judged.shape[3]
    plan = UNet(channels, channels, widths, ours.BLOCKS)
    started = time.perf_counter()
    weights = train_unet(plan, islice(batches, steps), steps, 0)
    elapsed_s = time.perf_counter() - started
    model = Denoiser()
    model.trained_ = TrainedUNet(plan, weights, case.noise, min(1.0, case.strength), ())
    figures: dict[str, Any] = {"parameters": plan.num_parameters, "fit_s": elapsed_s}
    yield case.row(name, model.denoise, f"{steps} steps", **figures)


def pairs(case: Case) -> Batches:
    """Noisy training images, drawn anew, and the clean ones, without end."""
    clean = to_float(case.train[:-NUM_CHOOSING])
    random = np.random.default_rng(3)
    count = ours.BATCH_PIXELS // (clean.shape[1] * clean.shape[2])
    while True:
        batch = clean[random.integers(len(clean), size=count)]
        yield with_noise(batch, case.noise, case.strength, random), batch


def replaced_pairs(case: Case) -> Batches:
    """Noisy images with some values replaced by neighbors, and these values, without end."""
    images = case.with_noise(to_float(case.train), 4)
    random = np.random.default_rng(3)
    count = ours.BATCH_PIXELS // (images.shape[1] * images.shape[2])
    while True:
        batch = images[random.integers(len(images), size=count)]
        chosen = np.nonzero(random.random(batch.shape) < REPLACED)
        moved = [
            np.clip(place + random.integers(-NEAR, NEAR + 1, len(place)), 0, side - 1)
            for place, side in zip(chosen[1:3], batch.shape[1:3], strict=True)
        ]
        given, wanted = batch.copy(), np.full_like(batch, np.nan)
        given[chosen] = batch[chosen[0], moved[0], moved[1], chosen[3]]
        wanted[chosen] = batch[chosen]
        yield given, wanted


def keras_example(case: Case) -> Any:  # noqa: ANN401 # Keras is untyped
    """The convolutional denoiser of the well-known example of Keras."""
    from convae.nn.backend import keras

    layers = keras.layers
    inputs = volume = layers.Input(case.judged.shape[1:])
    for _ in range(2):
        volume = layers.Conv2D(32, 3, activation="relu", padding="same")(volume)
        volume = layers.MaxPooling2D(2, padding="same")(volume)
    for _ in range(2):
        volume = layers.Conv2DTranspose(32, 3, strides=2, activation="relu", padding="same")(volume)
    channels = case.judged.shape[3]
    outputs = layers.Conv2D(channels, 3, activation="sigmoid", padding="same")(volume)
    model = keras.Model(inputs, outputs)
    model.compile(optimizer="adam", loss="binary_crossentropy")
    return model


def bottleneck(case: Case) -> Any:  # noqa: ANN401 # Keras is untyped
    """Our autoencoder with its 16 numbers, not yet trained to speak of."""
    from convae.nn.backend import keras

    model = ConvAutoencoder(epochs=1).fit(case.train[:100]).keras_model
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse")
    return model


def keras_rows(
    name: str, case: Case, make: Callable[[Case], Any], rows: list[Row], as_long_as: str
) -> Iterator[Row]:
    """A Keras model, trained on batches of 128 for as long as another method was."""
    known = [row["fit_s"] for row in rows if row["method"] == as_long_as and case.has(row)]
    seconds, model = statistics.median(known), make(case)
    clean = to_float(case.train[:-NUM_CHOOSING])
    random = np.random.default_rng(3)
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        batch = clean[random.integers(len(clean), size=128)]
        model.train_on_batch(with_noise(batch, case.noise, case.strength, random), batch)
        steps += 1
    figures = {"parameters": model.count_params(), "fit_s": time.perf_counter() - started}
    apply = partial(model.predict, batch_size=128, verbose=0)
    yield case.row(name, apply, f"{steps} steps", **figures)


def parts_of(rows: list[Row], *, quick: bool) -> dict[str, Iterator[Row]]:
    """Everything that is measured, by name; nothing runs before it is asked for its rows.

    Args:
        rows: Those before; when a part runs, they must be there.
        quick: Whether steps, images and seeds are few.
    """
    steps = QUICK_STEPS if quick else DEFAULT_STEPS
    short = min(steps, SHORT_STEPS)
    cases = {case: Case(*case, quick=quick) for case in {*CASES, *ENORMOUS}}
    special = cases[SPECIAL]
    most_seeds = 1 if quick else len(SEEDS)
    parts = {f"cheap {case}": cheap_rows(cases[case]) for case in CASES}
    parts |= {f"bm3d {case}": bm3d_rows(cases[case]) for case in CASES}
    for kind, (strongest, seeds) in TRAININGS.items():
        alike = [cases[case] for case in CASES if case[:2] == kind]
        for seed in seeds[:most_seeds]:
            parts[f"ours {kind} {seed}"] = our_rows(alike, strongest, seed, steps)
    for case, seeds in BLINDLY.items():
        for seed in seeds[:most_seeds]:
            parts[f"blind {case} {seed}"] = blind_rows(cases[case], seed, steps)
    parts[SPECIALIST] = network_rows(SPECIALIST, special, pairs(special), steps)
    parts[NOISE2VOID] = network_rows(NOISE2VOID, special, replaced_pairs(special), steps)
    parts[KERAS_EXAMPLE] = keras_rows(KERAS_EXAMPLE, special, keras_example, rows, OURS)
    for each in (cases[case] for case in ENORMOUS):
        parts[f"{SHORT} {each.strength}"] = network_rows(SHORT, each, pairs(each), short)
        parts[f"{BOTTLENECK} {each.strength}"] = keras_rows(
            BOTTLENECK, each, bottleneck, rows, SHORT
        )
    parts[LARGE] = network_rows(LARGE, special, pairs(special), steps, LARGE_WIDTHS)
    return parts


def headline(rows: list[Row]) -> dict[str, float]:
    """The figures that the README may quote."""

    def judged(case: Key) -> list[Row]:
        return [row for row in rows if key_of(row) == rounded(*case)]

    def of(method: str, case: Key) -> float:
        found: list[float] = [row["psnr_db"] for row in judged(case) if row["method"] == method]
        return statistics.mean(found)

    # BM3D is among those of the first images alone.
    known = [*judged(SPECIAL), *judged((few_of(SPECIAL[0]), *SPECIAL[1:]))]
    cheap = max(row["psnr_db"] for row in known if row["method"] not in TRAINED)
    color = (few_of(PHOTOGRAPHS), GAUSSIAN, 50 / 255)
    found = of(OURS, SPECIAL)
    return {
        "psnr_db_sigma_050": found,
        "gain_over_best_cheap_db": found - cheap,
        "gain_over_keras_example_db": found - of(KERAS_EXAMPLE, SPECIAL),
        "loss_to_a_specialist_db": of(SPECIALIST, SPECIAL) - found,
        "below_ceiling_db": of(LARGE, SPECIAL) - found,
        "blind_loss_db": of(SPECIALIST, SPECIAL) - of(BLIND, SPECIAL),
        "clean_psnr_db": of(OURS, (DIGITS, GAUSSIAN, 0.0)),
        "colour_gain_over_bm3d_db": of(OURS, color) - of(BM3D, color),
    }


def main() -> None:
    """Measure, print, publish."""
    given = row_options(__doc__, "--part", help="only those whose names begin so; needs --rows")
    rows = kept_rows(given.rows)
    measure_parts(parts_of(rows, quick=given.quick), given, rows)
    if not given.part:
        publish("denoising", headline(rows), rows, SEEDS, quick=given.quick)


if __name__ == "__main__":
    main()
