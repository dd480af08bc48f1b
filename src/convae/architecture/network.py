"""The protocol of a trained network; `convae.nn` implements it with Keras."""

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
