"""Fit how an autoencoder's latents become a few integers: a basis, a step, and tables of counts."""

import numpy as np
from numpy.typing import NDArray

from convae.autoencoder.estimator import ConvAutoencoder
from convae.coding.decoder import LARGEST_CODE, IntegerDecoder
from convae.coding.latents import LatentModel, bounds_of
from convae.coding.rounding import round_decoder
from convae.images import to_float
from convae.images.selection import Images
from convae.jobs.codec.fitted import REFINEMENT_STEPS

Floats = NDArray[np.float32]

# Most images whose refined latents are used, and whose slopes are.
MOST_IMAGES, MOST_SLOPES = 1000, 200
# The share that rounding adds to the squared error of the unrounded latents.
ROUNDING_SHARE = 0.3
DIFFERENCE = 1e-2
# A direction is coded if its spread is at least this share of the largest.
LEAST_SPREAD = 1e-3


def fit_latent_codes(autoencoder: ConvAutoencoder, images: Images, seed: int) -> LatentModel:
    """How to code latents.

    A step along a latent may change an image much or hardly at all. So latents are first brought
    to a basis in which a step of any direction adds the same squared error, on the average of some
    images, and in which they are uncorrelated: then one step for all of them is best where steps
    are small (Goyal, "Theoretical foundations of transform coding", 2001).

    Args:
        autoencoder: The fitted estimator.
        images: Images to learn from, checked.
        seed: Decides which of them are used.
    """
    order = np.random.default_rng(seed).permutation(len(images))[:MOST_IMAGES]
    chosen = images[np.sort(order)]
    latents = autoencoder.transform(chosen, refinement_steps=REFINEMENT_STEPS)
    decoded = _flat(autoencoder, latents)
    error = float(np.square(decoded - to_float(chosen).reshape(decoded.shape)).sum(axis=1).mean())
    synthesis, analysis, mean = _basis(autoencoder, latents)
    exact = (latents - mean) @ analysis
    # A step of 1 in each direction leaves an error of 1/12.
    step = np.sqrt(12 * max(ROUNDING_SHARE * error, 1e-6) / exact.shape[1])
    step = max(step, float(np.abs(exact).max()) / LARGEST_CODE)
    synthesis, analysis = synthesis * step, analysis / step
    codes = np.clip(np.rint(exact / step), -LARGEST_CODE, LARGEST_CODE).astype(np.int64)
    architecture = autoencoder.architecture_
    tables = round_decoder(
        architecture,
        autoencoder.weights_,
        synthesis.astype(np.float32),
        mean.astype(np.float32),
        codes,
    )
    return LatentModel(
        IntegerDecoder(architecture.image_shape, tables),
        bounds_of(codes),
        np.ascontiguousarray(analysis, np.float32),
        mean.astype(np.float32),
    )


def _basis(
    autoencoder: ConvAutoencoder, latents: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """From codes to latents, from latents to codes, and the mean that both leave out."""
    latent_dim = latents.shape[1]
    mean = latents.mean(axis=0, dtype=np.float64)
    some = latents[:MOST_SLOPES]
    size = DIFFERENCE * float(np.sqrt(np.square(some - mean).mean()) or 1)
    start = _flat(autoencoder, some)
    slopes = np.stack(
        [
            (_flat(autoencoder, some + size * unit) - start) / size
            for unit in np.eye(latent_dim, dtype=np.float32)
        ],
        axis=1,
    )
    gram = np.einsum("nip,njp->ij", slopes, slopes, optimize=True).astype(np.float64) / len(some)
    # A latent that changes no pixel would lead to a division by zero.
    gram += 1e-6 * max(np.trace(gram), 1e-12) / latent_dim * np.eye(latent_dim)
    root = np.linalg.cholesky(gram)
    centered = (latents - mean) @ root
    # Not `np.cov`, which a single image leaves without a number.
    covariance = centered.T @ centered / max(1, len(latents) - 1)
    spread, directions = np.linalg.eigh(covariance)
    kept = spread >= LEAST_SPREAD**2 * max(spread.max(), 1e-12)
    kept[-1] = True
    directions = directions[:, kept][:, ::-1]
    return directions.T @ np.linalg.inv(root), root @ directions, mean


def _flat(autoencoder: ConvAutoencoder, latents: Floats) -> Floats:
    """Decoded images, one a row."""
    return autoencoder.inverse_transform(latents.astype(np.float32)).reshape(len(latents), -1)
