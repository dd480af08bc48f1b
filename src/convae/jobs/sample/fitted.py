"""What a fitted sampler does: new images, and images between, along and around others."""

from abc import ABC
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convae.architecture.network import Network
from convae.autoencoder.applied import AppliedAutoencoder, TrainedAutoencoder
from convae.checks import share, whole_number
from convae.jobs.sample.mixture import Mixture
from convae.storage.modelfile import FittedJob

MOST_SAMPLES = 10_000_000
# Traversing goes so many standard deviations to each side.
REACH = 2.5
# Refining the latents of an image that others are made from shows it as it is.
REFINEMENT_STEPS = 4

Floats = NDArray[np.float32]


class AppliedSampler(ABC):
    """The methods that `FittedSampler` and the estimator `LatentSampler` share."""

    autoencoder_: AppliedAutoencoder
    mixture_: Mixture

    def _check_fitted(self) -> None:  # noqa: B027 # what a file holds was fitted
        """Refuse an estimator that has not been fitted yet."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The kinds of images that `sample` can be asked for; none if fitted without labels."""
        self._check_fitted()
        return self.mixture_.labels

    def sample(self, num_images: int = 1, seed: int = 0, label: object = None) -> Floats:
        """New images like those fitted on.

        Args:
            num_images: How many, from 1.
            seed: The same seed and number give the same images.
            label: One of `labels`, or a number or another value that is written so; None makes
                images of all kinds.

        Returns:
            float32 in [0, 1], `(num_images, height, width, channels)`, or without the channel axis
            where the images fitted on had none.

        Raises:
            ParameterError: A parameter is outside its range.
        """
        self._check_fitted()
        whole_number(num_images, "num_images", 1, MOST_SAMPLES)
        whole_number(seed, "seed", 0, 2**32 - 1)
        name = None if label is None else str(label)
        return self._decoded(self.mixture_.draw(num_images, np.random.default_rng(seed), name))

    def interpolate(self, first: ArrayLike, last: ArrayLike, num_images: int = 9) -> Floats:
        """Images on the straight line between the latents of two.

        Args:
            first: An image of the size fitted on, `(height, width, channels)`, uint8 or float32 in
                [0, 1].
            last: Another one.
            num_images: How many, from 2, with the reconstructions of both.

        Returns:
            As `sample`.

        Raises:
            ParameterError: `num_images` is outside its range.
            ImageError: An image breaks the image contract, or is of another size.
        """
        self._check_fitted()
        whole_number(num_images, "num_images", 2, MOST_SAMPLES)
        ends = [self._latents(image) for image in (first, last)]
        shares = np.linspace(0, 1, num_images)[:, np.newaxis]
        return self._decoded((1 - shares) * ends[0] + shares * ends[1])

    def traverse(self, index: int, image: ArrayLike | None = None, num_images: int = 9) -> Floats:
        """Images that differ in one number of their latents.

        It goes over its usual range, 2.5 standard deviations to each side of its mean.

        Args:
            index: Which number, from 0.
            image: Where the others come from, as in `interpolate`; None takes their means.
            num_images: How many, from 2.

        Returns:
            As `sample`.

        Raises:
            ParameterError: A parameter is outside its range.
            ImageError: The image breaks the image contract, or is of another size.
        """
        self._check_fitted()
        whole_number(index, "index", 0, self.mixture_.latent_dim - 1)
        whole_number(num_images, "num_images", 2, MOST_SAMPLES)
        mean, deviation = self.mixture_.spread()
        latents = np.repeat([mean if image is None else self._latents(image)], num_images, axis=0)
        latents[:, index] = mean[index] + deviation[index] * np.linspace(-REACH, REACH, num_images)
        return self._decoded(latents)

    def vary(
        self, image: ArrayLike, num_images: int = 9, strength: float = 0.5, seed: int = 0
    ) -> Floats:
        """Images around one.

        Args:
            image: The image, as in `interpolate`.
            num_images: How many, from 1.
            strength: From 0, its reconstruction, to 1, new images of its kind.
            seed: As in `sample`.

        Returns:
            As `sample`.

        Raises:
            ParameterError: A parameter is outside its range.
            ImageError: The image breaks the image contract, or is of another size.
        """
        self._check_fitted()
        whole_number(num_images, "num_images", 1, MOST_SAMPLES)
        whole_number(seed, "seed", 0, 2**32 - 1)
        moved = share(strength, "strength")
        latents = self._latents(image)
        component = np.full(num_images, self.mixture_.nearest(latents))
        steps = np.random.default_rng(seed).standard_normal((num_images, len(latents)))
        # The spread of the component's images stays, whatever the strength.
        center = self.mixture_.means[component]
        kept = np.sqrt(1 - moved**2) * (latents - center)
        return self._decoded(self.mixture_.around(component, moved * steps) + kept)

    def _latents(self, image: ArrayLike) -> NDArray[np.float64]:
        pixels = np.asarray(image)
        found = self.autoencoder_.transform(pixels[np.newaxis], refinement_steps=REFINEMENT_STEPS)
        latents: NDArray[np.float64] = found[0].astype(np.float64)
        return latents

    def _decoded(self, latents: NDArray[np.float64]) -> Floats:
        return self.autoencoder_.inverse_transform(latents.astype(np.float32))


@dataclass(frozen=True, eq=False)
class FittedSampler(AppliedSampler):
    """A sampler to be used, as a model file has it; it needs NumPy and a network alone.

    Args:
        autoencoder_: The trained network and what it does with images.
        mixture_: The density of latents.
    """

    autoencoder_: AppliedAutoencoder
    mixture_: Mixture

    @classmethod
    def from_job(cls, job: FittedJob, network: Network, origin: str) -> Self:
        """What a model file keeps, for an untrusted file.

        Raises:
            ModelFileError: Something is missing, unknown or of the wrong kind.
        """
        mixture = Mixture.from_job(job, network.architecture.latent_dim, origin)
        return cls(TrainedAutoencoder(network, channel_axis=True), mixture)
