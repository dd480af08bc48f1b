"""The protocol of a trained network; `convae.nn` implements it with Keras."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from convae.architecture.plan import Architecture

Floats = NDArray[np.float32]


class Network(Protocol):
    """A trained network, applied to arrays of any length in bounded memory.

    Threads may share one.
    """

    @property
    def architecture(self) -> Architecture:
        """Its shape."""

    def start(self) -> None:
        """Make ready to compute; whoever reads much before computing calls this first.

        Raises:
            BackendError: This process cannot compute.
            MissingExtraError: The library that computes is not installed.
        """

    def encode(self, images: Floats) -> Floats:
        """The latents of images.

        Where `architecture.encoder_passes` is above 1, they are those that `after_passes` gives.

        Args:
            images: float32 in [0, 1], `(num_images, height, width, channels)`.

        Returns:
            float32 `(num_images, latent_dim)`.
        """

    def decode(self, latents: Floats) -> Floats:
        """The images of latents.

        Args:
            latents: float32 `(num_images, latent_dim)`.

        Returns:
            float32 in [0, 1], `(num_images, height, width, channels)`.
        """

    def reconstruct(self, images: Floats) -> Floats:
        """What encoding and decoding make of images.

        Args:
            images: float32 in [0, 1], `(num_images, height, width, channels)`.

        Returns:
            float32 in [0, 1], of the same shape.
        """

    def weights(self) -> dict[str, Floats]:
        """Copies of all weights, named and shaped as `Architecture.weight_shapes` says."""


def after_passes(first: Floats, answer: Callable[[Floats], Floats], num_passes: int) -> Floats:
    """Latents after all passes of an encoder over images and their reconstructions.

    Each pass adds what the encoder's answer to an image has more than its answer to the
    reconstruction. What comes back is compared with what went in, and the difference is sent back
    through the same network: the iterative back-projection of Irani and Peleg, "Improving
    resolution by image registration", 1991, with an encoder as its kernel.

    Args:
        first: float32 `(num_images, latent_dim)`: what the encoder says of the images.
        answer: What it says of the reconstructions from latents.
        num_passes: Passes over each image, 1 or more.

    Returns:
        float32 `(num_images, latent_dim)`; not finite where the network overflows.
    """
    latents = first
    with np.errstate(invalid="ignore", over="ignore"):
        for _ in range(num_passes - 1):
            latents = latents + (first - answer(latents))
    return latents
