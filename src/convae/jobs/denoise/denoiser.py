"""`Denoiser`: takes noise away from images like those that it learned from."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from convae.architecture.run import UNOBSERVED, RunOptions
from convae.architecture.unet import UNet
from convae.autoencoder.estimator import ConvAutoencoder
from convae.baselines.linear_filter import LinearFilter
from convae.checks import fraction, one_of, whole_number
from convae.errors import ParameterError
from convae.images.metrics import psnr_db
from convae.images.selection import ImagesLike
from convae.jobs.denoise import DEFAULT_NOISE, DEFAULT_STEPS, DEFAULT_STRENGTH, JOB
from convae.jobs.denoise.blind import train_on_noisy
from convae.jobs.denoise.fitted import AppliedDenoiser
from convae.jobs.denoise.noise import NOISES, add_noise
from convae.jobs.denoise.patches import Pieces
from convae.jobs.denoise.stored import TrainedUNet
from convae.jobs.job import Job, Material, Pictures, Progress
from convae.jobs.training import fit_job
from convae.nn.unet import NUM_PARTS, train_unet
from convae.report.result import Result
from convae.storage.modelfile import FittedJob

Floats = NDArray[np.float32]

# Of the network; chosen on held-out images of MNIST's training split, with the steps.
WIDTHS, BLOCKS = (32, 64), (1, 2)
MOST_STEPS = 10_000_000
# Pixels of a batch: as many as 32 images of MNIST have.
BATCH_PIXELS = 25_088
# What files hold: values in steps of 1 / 255.
LEVELS = np.float32(255)
# Strengths that it is judged at, in shares of the strongest, on so many held-out patches.
JUDGED_AT = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
SHOWN_AT = (0.5, 1.0)
NUM_JUDGED = 256
JUDGED = ("noisy", "linear_filter", "denoised")
# Patches that the linear filter is fitted on.
NUM_FILTERED = 512


class Denoiser(AppliedDenoiser, Job, BaseEstimator):  # type: ignore[misc] # sklearn is untyped
    """Learns to take noise away: from clean images, or from noisy ones alone.

    To clean images it adds noise of all strengths. From noisy images it learns what noise there is,
    which must be gaussian, and what the images are beneath it.

    It has a network of its own, a small U-Net, since the few numbers of an autoencoder cannot keep
    what is fine in an image. Images to denoise may have any size. How strong their noise is, it
    need not be told.

    Args:
        autoencoder: The estimator whose file the denoiser is kept in. One that is fitted is used as
            it is; otherwise a clone is fitted. None takes `ConvAutoencoder()`.
        noise: The kind: `gaussian`, `poisson` or `speckle`, whose strength is the standard
            deviation (of white); `salt-and-pepper` or `blocks`, the share of values or pixels lost;
            `blur`, a quarter of its standard deviation in pixels.
        strength: The strongest noise to learn from, above 0, up to 1; not used if blind.
        blind: Whether the images to learn from are noisy ones, with gaussian noise of one strength
            in each value by itself, clipped as files clip it.
        steps: Steps of training.
        seed: Decides the noise, and where the network begins.

    Attributes:
        autoencoder_: The fitted `ConvAutoencoder`.
        trained_: The network (`convae.jobs.denoise.stored.TrainedUNet`).
        judged_: For each of some strengths the PSNR, in dB, of held-out images with that noise, of
            what a linear filter makes of them, and of what the denoiser does; empty if blind, since
            no clean image is known. `load` does not set it.

    Example:
        >>> from convae import Denoiser, load_dataset
        >>> digits = load_dataset("digits").train
        >>> denoiser = Denoiser(strength=0.8).fit(digits)  # doctest: +SKIP
        >>> clean = denoiser.denoise(noisy)  # doctest: +SKIP
    """

    kind = JOB

    def __init__(
        self,
        autoencoder: ConvAutoencoder | None = None,
        *,
        noise: str = DEFAULT_NOISE,
        strength: float = DEFAULT_STRENGTH,
        blind: bool = False,
        steps: int = DEFAULT_STEPS,
        seed: int = 0,
    ) -> None:
        self.autoencoder = autoencoder
        self.noise = noise
        self.strength = strength
        self.blind = blind
        self.steps = steps
        self.seed = seed

    def fit(
        self,
        X: ImagesLike,
        y: object = None,  # noqa: ARG002 # scikit-learn's signature
        *,
        run: RunOptions = UNOBSERVED,
        pictures: Pictures | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Learn from images, clean ones unless blind.

        Args:
            X: The images, as `ConvAutoencoder` takes them.
            y: Ignored; scikit-learn passes it.
            run: As in `ConvAutoencoder.fit`.
            pictures: The pictures that X was made of, in batches as `convae.exact_batches` gives
                them, to learn from these instead of X, at their own sizes.
            progress: Called with the steps done and all steps of learning to denoise.

        Raises:
            ParameterError: A parameter is outside its range.
            ImageError: X breaks the image contract.
            DataError: There are no pictures.
            ModelFileError: The checkpoint to resume from is missing, damaged or of another run.
        """
        fit_job(self, X, self.autoencoder, run=run, pictures=pictures, progress=progress)
        return self

    def check(self) -> None:
        """Refuse parameters outside their ranges, before anything is read.

        Raises:
            ParameterError: One of them is.
        """
        one_of(self.noise, "noise", tuple(NOISES))
        if self.blind and self.noise != DEFAULT_NOISE:
            raise ParameterError(
                f"blind must go with {DEFAULT_NOISE} noise, the only kind that is learned from "
                f"noisy images; received {self.noise}. Learn from clean images, or leave noise out."
            )
        # Just above 1, which may be given.
        fraction(self.strength, "strength", 0, np.nextafter(1, 2), open_low=True)
        whole_number(self.steps, "steps", 1, MOST_STEPS)
        whole_number(self.seed, "seed", 0, 2**32 - 1)

    def fit_beside(self, autoencoder: ConvAutoencoder, material: Material) -> Self:
        """Train the network that takes noise away.

        Args:
            autoencoder: The fitted estimator.
            material: What to learn from: its pictures if it has any, else its images.

        Raises:
            ParameterError: A parameter is outside its range.
            DataError: There are no pictures.
        """
        self.check()
        channels = autoencoder.architecture_.channels
        if material.pictures is None:
            pieces = Pieces.of_images(material.images, self.seed)
        else:
            pieces = Pieces.of_pictures(material.pictures, channels, self.seed)
        seen, judged = pieces.split(self.seed)
        plan = UNet(channels, channels, WIDTHS, BLOCKS)
        sides = seen.patch_sides(plan.stride)
        count = NUM_PARTS * max(1, round(BATCH_PIXELS / (sides[0] * sides[1] * NUM_PARTS)))
        self.autoencoder_ = autoencoder
        self.judged_: dict[float, tuple[float, ...]] = {}
        if self.blind:
            weights, deviation, mse = train_on_noisy(
                plan, seen, count, sides, self.steps, self.seed, material.progress
            )
            strength = min(deviation, 1.0)
            self.trained_ = TrainedUNet(plan, weights, self.noise, strength, ((strength, mse),))
            return self
        random = np.random.default_rng([self.seed, 1])

        def batches() -> Iterator[tuple[Floats, Floats]]:
            for _ in range(self.steps):
                clean = seen.draw(count, sides, random)
                strengths = self.strength * random.random(count, np.float32)
                yield self._noisy(clean, strengths, random), clean

        weights = train_unet(plan, batches(), self.steps, self.seed, progress=material.progress)
        self.trained_ = TrainedUNet(plan, weights, self.noise, float(self.strength), ())
        self.trained_ = self._judged(seen, judged, sides)
        return self

    def _noisy(
        self, clean: Floats, strength: float | Floats, random: np.random.Generator
    ) -> Floats:
        """Noise as it is in files of 8 bits."""
        noisy = add_noise(clean, self.noise, strength, random)
        found: Floats = np.rint(noisy * LEVELS) / LEVELS
        return found

    def _judged(self, seen: Pieces, judged: Pieces, sides: tuple[int, int]) -> TrainedUNet:
        """The network with its errors on held-out patches."""
        random = np.random.default_rng([self.seed, 2])
        clean = judged.draw(NUM_JUDGED, sides, random)
        learned = seen.draw(NUM_FILTERED, sides, random)
        errors = []
        for share in JUDGED_AT:
            strength = share * float(self.strength)
            noisy = self._noisy(clean, strength, random)
            found = [float(np.square(noisy - clean).mean())]
            if share in SHOWN_AT:
                linear = LinearFilter.fit(self._noisy(learned, strength, random), learned)
                found.append(float(np.square(linear.apply(noisy) - clean).mean()))
            mse = float(np.square(self._denoised(noisy) - clean).mean())
            errors.append((strength, mse))
            if share in SHOWN_AT:
                self.judged_[strength] = tuple(psnr_db(each) for each in (*found, mse))
        return replace(self.trained_, errors=tuple(errors))

    def to_job(self) -> FittedJob:
        """What the model file keeps beside the network."""
        return self.trained_.to_job()

    def describe(self) -> Result:
        """What it makes of held-out images with noise, and what a linear filter does."""
        figures = {
            "noise": self.noise,
            "strength": self.trained_.strength,
            "blind": self.blind,
            "parameters": self.trained_.plan.num_parameters,
            "psnr_db": [
                {"strength": strength, **dict(zip(JUDGED, found, strict=True))}
                for strength, found in self.judged_.items()
            ],
        }
        lines = [f"for `convae denoise`: {self.noise} noise up to a strength of {self.strength:g}"]
        if self.blind:
            ((deviation, mse),) = self.trained_.errors
            figures["expected_psnr_db"] = psnr_db(mse)
            lines = [
                f"for `convae denoise`: the images have gaussian noise of a standard deviation of "
                f"{deviation:.3f} (of white); denoised they should have some {psnr_db(mse):.1f} "
                f"dB, as far as can be told without clean ones"
            ]
        for strength, (noisy, linear, denoised) in self.judged_.items():
            lines.append(
                f"  held-out images with {strength:g} of it have {noisy:.1f} dB; denoised "
                f"{denoised:.1f} dB, by a linear filter {linear:.1f} dB"
            )
        if any(linear >= denoised for _, linear, denoised in self.judged_.values()):
            lines.append(
                "  a linear filter is as good: too few images, or too short a training; add images "
                "or steps"
            )
        return Result(figures, lines)

    @classmethod
    def from_job(cls, job: FittedJob, autoencoder: ConvAutoencoder, origin: str) -> Self:
        """A fitted denoiser from what `to_job` gave, for an untrusted file.

        Raises:
            ModelFileError: Something is missing, unknown or of the wrong kind.
        """
        trained = TrainedUNet.from_job(job, autoencoder.architecture_.channels, origin)
        denoiser = cls(autoencoder, noise=trained.noise, strength=trained.strength)
        denoiser.autoencoder_ = autoencoder
        denoiser.trained_ = trained
        return denoiser

    def _check_fitted(self) -> None:
        check_is_fitted(self, "trained_")
