"""What a trained autoencoder does with images; it needs a network, and no training library."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convae.architecture.network import Network
from convae.autoencoder.refine import refine_latents
from convae.checks import whole_number
from convae.errors import ImageError
from convae.images.contract import as_images, to_float
from convae.images.memory import chunks
from convae.images.metrics import squared_errors
from convae.images.selection import Images as Selected

MOST_REFINEMENT_STEPS = 1_000

Images = NDArray[np.uint8] | NDArray[np.float32]
Floats = NDArray[np.float32]


class AppliedAutoencoder(ABC):
    """The methods that `TrainedAutoencoder` and the estimator `ConvAutoencoder` share."""

    @property
    @abstractmethod
    def network_(self) -> Network:
        """The trained network."""

    @property
    @abstractmethod
    def channel_axis_(self) -> bool:
        """Whether the images trained on came with a channel axis."""

    def transform(self, X: ArrayLike, refinement_steps: int = 0) -> Floats:
        """The latents of images: float32 `(num_images, latent_dim)`.

        Args:
            X: The images.
            refinement_steps: Steps that take each image's latents from the encoder's answer towards
                the least squared error of its reconstruction, which never grows; a step costs some
                `latent_dim` reconstructions.

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
            ParameterError: `refinement_steps` is no whole number from 0 to 1,000.
        """
        images = self.checked(X)
        return np.concatenate(
            [
                self._latents(to_float(images[chunk]), refinement_steps)
                for chunk in self._parts(images, refinement_steps)
            ]
        )

    def inverse_transform(self, X: ArrayLike) -> Floats:
        """The images that latents stand for.

        Args:
            X: float `(num_images, latent_dim)`, finite.

        Returns:
            float32 in [0, 1], `(num_images, height, width, channels)`, or without the channel axis
            where the images fitted on had none.

        Raises:
            ImageError: X has another shape or is not finite.
        """
        network = self.network_
        latents = np.asarray(X)
        latent_dim = network.architecture.latent_dim
        if latents.ndim != 2 or latents.shape[1] != latent_dim or latents.dtype.kind not in "fiu":
            raise ImageError(
                f"Latents must be numbers of shape (num_images, {latent_dim}); received "
                f"{latents.dtype} of shape {latents.shape}. Pass what transform returned."
            )
        latents = latents.astype(np.float32)
        if not np.isfinite(latents).all():
            raise ImageError(
                "Latents must be finite; received NaN or infinity. Pass what transform returned."
            )
        images = network.decode(latents)
        return images if self.channel_axis_ else images[..., 0]

    def reconstruct(self, X: ArrayLike, refinement_steps: int = 0) -> Floats:
        """What the autoencoder makes of images.

        Args:
            X: The images.
            refinement_steps: As in `transform`.

        Returns:
            float32 in [0, 1], with the shape of X.

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
            ParameterError: `refinement_steps` is no whole number from 0 to 1,000.
        """
        images = self.checked(X)
        parts = [
            self._reconstructions(to_float(images[chunk]), refinement_steps)
            for chunk in self._parts(images, refinement_steps)
        ]
        return np.concatenate(parts).reshape(np.asarray(X).shape)

    def score_samples(self, X: ArrayLike, refinement_steps: int = 0) -> NDArray[np.float64]:
        """Minus the mean squared error of each image's reconstruction.

        **Higher is more normal**, as everywhere in scikit-learn: 0 is a perfect reconstruction.

        Args:
            X: The images.
            refinement_steps: As in `transform`.

        Returns:
            float64 `(num_images,)`, from -1 to 0.

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
            ParameterError: `refinement_steps` is no whole number from 0 to 1,000.
        """
        images = self.checked(X)
        errors = []
        for chunk in self._parts(images, refinement_steps):
            originals = to_float(images[chunk])
            rebuilt = self._reconstructions(originals, refinement_steps)
            errors.append(squared_errors(originals, rebuilt))
        return -np.concatenate(errors)

    def score(self, X: ArrayLike, y: object = None) -> float:  # noqa: ARG002 # scikit-learn's
        """Minus the mean squared error over all images; higher is better."""
        return float(self.score_samples(X).mean())

    def checked(self, X: ArrayLike) -> Images:
        """Images as `(num_images, height, width, channels)`, uint8 or float32 in [0, 1].

        Raises:
            ImageError: X breaks the image contract or is not of the size fitted on.
        """
        return check_size_of(X, self.network_)

    def _parts(self, images: Images, refinement_steps: int) -> Iterator[slice]:
        """Slices of images that can be worked on at a time."""
        whole_number(refinement_steps, "refinement_steps", 0, MOST_REFINEMENT_STEPS)
        # Refining holds an image's reconstructions from latents moved one by one.
        copies = self.network_.architecture.latent_dim if refinement_steps else 1
        return chunks(images, copies)

    def _latents(self, images: Floats, refinement_steps: int) -> Floats:
        latents = self.network_.encode(images)
        if not refinement_steps:
            return latents
        return refine_latents(self.network_, images, latents, refinement_steps)

    def _reconstructions(self, images: Floats, refinement_steps: int) -> Floats:
        if not refinement_steps:
            return self.network_.reconstruct(images)
        return self.network_.decode(self._latents(images, refinement_steps))


@dataclass(frozen=True, eq=False)
class TrainedAutoencoder(AppliedAutoencoder):
    """An autoencoder to be used, as a model file has it.

    Args:
        network: The trained network.
        channel_axis: Whether the images trained on came with a channel axis.
    """

    network: Network
    channel_axis: bool

    @property
    def network_(self) -> Network:
        """The trained network."""
        return self.network

    @property
    def channel_axis_(self) -> bool:
        """Whether the images trained on came with a channel axis."""
        return self.channel_axis


def check_size_of(X: ArrayLike, network: Network) -> NDArray[Any]:
    """Images that a network takes, checked.

    Raises:
        ImageError: X breaks the image contract or is not of the network's size.
    """
    images = as_images(X)
    if images.shape[1:] != network.architecture.image_shape:
        height, width, channels = network.architecture.image_shape
        raise ImageError(
            f"Images must be of the size fitted on, {height} x {width} x {channels} (height, "
            f"width, channels); received {' x '.join(map(str, images.shape[1:]))}. Resize them "
            f"(convae.images.resize.fit_size) or fit on images of this size."
        )
    return images


def model_mse(model: AppliedAutoencoder, images: Selected) -> float:
    """Mean squared error of a model's reconstructions: minus its `score`, on a `Selection` too.

    Args:
        model: The trained autoencoder.
        images: Images of its size, uint8 or float32 in [0, 1].

    Returns:
        The error per pixel, in [0, 1].
    """
    scores = np.concatenate([model.score_samples(images[part]) for part in chunks(images)])
    return -float(scores.mean())
