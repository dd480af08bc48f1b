"""Which images are drawn: to be held out, or to stand for more than can be used."""

import numpy as np
from numpy.typing import NDArray

from convae.errors import ParameterError


def held_out_indices(
    num_images: int, fraction: float, seed: int, name: str = "validation_split"
) -> NDArray[np.intp]:
    """Indices, ascending, of images drawn at random, since folders come sorted.

    Args:
        num_images: Images there are.
        fraction: How many to draw, from 0 (none) to below 1.
        seed: The same seed draws the same images.
        name: What the message calls the fraction.

    Raises:
        ParameterError: The fraction is above 0, and leaves no image on one of the sides.
    """
    if fraction == 0:
        return np.empty(0, np.intp)
    num_held_out = round(num_images * fraction)
    if not 0 < num_held_out < num_images:
        raise ParameterError(
            f"{name} must leave at least one image on each side; received {fraction} of "
            f"{num_images} images. Change it or add images."
        )
    order = np.random.default_rng([seed, 0]).permutation(num_images)
    return np.sort(order[:num_held_out])


def drawn_indices(num_images: int, most: int, seed: int) -> NDArray[np.intp]:
    """Indices, ascending, of as many images as may be used, drawn at random.

    Args:
        num_images: Images there are.
        most: How many may be used.
        seed: The same seed draws the same images.
    """
    return np.sort(np.random.default_rng(seed).permutation(num_images)[:most])
