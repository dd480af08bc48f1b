"""Latents that fit given images better than the encoder's first answer; it changes no weights."""

import numpy as np
from numpy.typing import NDArray

from convae.architecture.network import Network

# Of the size of an image's latents: far above rounding, and small beside what curves the decoder.
DIFFERENCE = 1e-2
LEAST_SLOPE = 1e-6
FIRST_DAMPING = 1e-2
DAMPING_AFTER_SUCCESS, DAMPING_AFTER_FAILURE = 0.3, 10.0


def refine_latents(
    network: Network,
    images: NDArray[np.float32],
    latents: NDArray[np.float32],
    num_steps: int,
) -> NDArray[np.float32]:
    """Go on from `latents` by steps of Levenberg and Marquardt towards the least squared error.

    An image's error never grows: a step that would raise it is not taken, and the next one is
    shorter. The decoder's derivatives are differences of its outputs, so every backend will do; a
    step decodes each image as often as there are latents, and twice more.

    Args:
        network: The network; only its decoder is used.
        images: float32 in [0, 1], `(num_images, height, width, channels)`.
        latents: float32 `(num_images, latent_dim)`.
        num_steps: Steps, 0 or more.

    Returns:
        float32 `(num_images, latent_dim)`.
    """
    count, latent_dim = latents.shape
    size = np.sqrt(np.square(latents).mean(axis=1))
    difference = DIFFERENCE * np.where(size > 0, size, 1)[:, None]
    offsets = difference[:, :, None] * np.eye(latent_dim, dtype=np.float32)
    targets = images.reshape(count, -1)

    def decode(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return network.decode(values).reshape(len(values), -1)

    latents = latents.copy()
    damping = np.full(count, FIRST_DAMPING)
    decoded = decode(latents)
    for _ in range(num_steps):
        moved = decode((latents[:, None] + offsets).astype(np.float32).reshape(-1, latent_dim))
        slopes = moved.reshape(count, latent_dim, -1) - decoded[:, None]
        missing = targets - decoded
        gram = (slopes @ slopes.transpose(0, 2, 1)).astype(np.float64)
        diagonal = np.einsum("ijj->ij", gram)  # a view, which can be written to
        # A latent that changes no pixel would lead to a division by zero.
        least = LEAST_SLOPE * diagonal.max(axis=1, keepdims=True) + np.finfo(np.float32).tiny
        diagonal += damping[:, None] * np.maximum(diagonal, least)
        wanted = slopes @ missing[:, :, None]
        steps = np.linalg.solve(gram, wanted.astype(np.float64))[:, :, 0]
        # A step is no longer than the latents: a slope of rounding errors would send them far off.
        lengths = np.abs(steps).max(axis=1, keepdims=True)
        steps /= np.maximum(1, DIFFERENCE * lengths)
        proposed = (latents + difference * steps).astype(np.float32)
        redecoded = decode(proposed)
        better = np.square(targets - redecoded).sum(axis=1) < np.square(missing).sum(axis=1)
        latents[better], decoded[better] = proposed[better], redecoded[better]
        damping *= np.where(better, DAMPING_AFTER_SUCCESS, DAMPING_AFTER_FAILURE)
    return latents
