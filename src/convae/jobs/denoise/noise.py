"""Made-up noise: what a denoiser learns to take away. Everything is clipped, as files clip it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from convae.errors import ParameterError
from convae.images.filters import blur

Floats = NDArray[np.float32]
MakeNoise = Callable[[Floats, Floats, np.random.Generator], Floats]

# Blur of strength 1 has this standard deviation, in pixels.
WIDEST_BLUR = 4.0
# Missing blocks have from so many to so many pixels on a side.
SMALLEST_BLOCK, LARGEST_BLOCK = 2, 8


def add_noise(
    images: NDArray[np.float32], kind: str, strength: float | Floats, random: np.random.Generator
) -> Floats:
    """Images with noise of one kind, clipped to [0, 1].

    Args:
        images: float32 in [0, 1], `(num_images, height, width, channels)`.
        kind: One of `NOISES`, which says what its strength is.
        strength: From 0 (none) to 1; one for all images, or one for each.
        random: Draws the noise.

    Returns:
        float32 in [0, 1], of the same shape.

    Raises:
        ParameterError: The kind is unknown, or a strength is outside [0, 1].
    """
    if kind not in NOISES:
        raise ParameterError(
            f"The kind of noise must be one of {', '.join(NOISES)}; received {kind!r:.40}. Choose "
            f"one of them."
        )
    strengths = np.broadcast_to(np.asarray(strength, np.float32), len(images))
    if not ((strengths >= 0) & (strengths <= 1)).all():
        raise ParameterError(
            f"The strength of noise must be from 0 to 1; received {strengths.min():g} to "
            f"{strengths.max():g}. Choose values inside that range."
        )
    made = NOISES[kind](images, strengths[:, np.newaxis, np.newaxis, np.newaxis], random)
    noisy: Floats = np.clip(made, 0, 1, dtype=np.float32)
    return noisy


def _normal(images: Floats, random: np.random.Generator) -> Floats:
    return random.standard_normal(images.shape, dtype=np.float32)


def _gaussian(images: Floats, strength: Floats, random: np.random.Generator) -> Floats:
    return images + strength * _normal(images, random)


def _speckle(images: Floats, strength: Floats, random: np.random.Generator) -> Floats:
    return images * (1 + strength * _normal(images, random))


def _poisson(images: Floats, strength: Floats, random: np.random.Generator) -> Floats:
    # Counts of which white has 1 / strength^2, so that their deviation is the strength there.
    peak = 1 / np.square(np.maximum(strength, 1e-3))
    counts = random.poisson(images * peak).astype(np.float32) / peak
    return np.where(strength > 0, counts, images)


def _salt_and_pepper(images: Floats, strength: Floats, random: np.random.Generator) -> Floats:
    drawn = random.random(images.shape, dtype=np.float32)
    extreme = (drawn < strength / 2).astype(np.float32)
    return np.where(drawn < strength, extreme, images)


def _blur(images: Floats, strength: Floats, random: np.random.Generator) -> Floats:
    del random
    found = np.empty_like(images)
    for index, image in enumerate(images):
        planes = image.transpose(2, 0, 1)
        sigma = WIDEST_BLUR * float(strength[index, 0, 0, 0])
        found[index] = (blur(planes, sigma) if sigma > 0 else planes).transpose(1, 2, 0)
    return found


def _blocks(images: Floats, strength: Floats, random: np.random.Generator) -> Floats:
    height, width = images.shape[1:3]
    found = images.copy()
    for image, share in zip(found, strength[:, 0, 0, 0], strict=True):
        missing = np.zeros((height, width), bool)
        while missing.mean() < share:
            side = int(random.integers(SMALLEST_BLOCK, LARGEST_BLOCK + 1))
            row = int(random.integers(1 - side, height))
            column = int(random.integers(1 - side, width))
            missing[max(0, row) : row + side, max(0, column) : column + side] = True
        image[missing] = 0
    return found


# Strength: of gaussian, poisson (at white) and speckle noise (of white) the standard deviation; of
# salt-and-pepper the share of values, of blocks that of pixels; of blur a quarter of the standard
# deviation in pixels.
NOISES: dict[str, MakeNoise] = {
    "gaussian": _gaussian,
    "poisson": _poisson,
    "speckle": _speckle,
    "salt-and-pepper": _salt_and_pepper,
    "blur": _blur,
    "blocks": _blocks,
}
