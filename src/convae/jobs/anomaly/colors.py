"""The shares of colors in images, which edges do not show. Nothing here is learned."""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from convae.images.contract import to_float
from convae.images.memory import chunks
from convae.images.selection import Images
from convae.jobs.anomaly.cells import cell_side, pool

Floats = NDArray[np.float32]

# Per channel. Chosen on pictograms, whose colors were changed wholly or in part.
LEVELS = 4


def color_features(images: Images) -> Floats:
    """The share of each color in an image, as the root of a histogram.

    A pixel counts for the colors around its own; the nearer they are, the more.

    Args:
        images: uint8 or float32 in [0, 1], `(num_images, height, width, channels)`.

    Returns:
        float32 `(num_images, 4 ** channels)`, 0 or more; each row has length 1.
    """
    parts = [_amounts(to_float(images[part])) for part in chunks(images, 2 * images.shape[3])]
    amounts = np.concatenate(parts)
    features: Floats = np.sqrt(amounts / amounts.sum(axis=1, keepdims=True)).astype(np.float32)
    return features


def num_color_features(image_shape: tuple[int, int, int]) -> int:
    """Length of the vectors that `color_features` makes of images of a height, width and depth."""
    return int(LEVELS ** image_shape[2])


def sum_color_cells(differences: NDArray[np.float64], images: Floats) -> NDArray[np.float64]:
    """Where an image has the colors that it has too much of.

    Args:
        differences: float64 `(num_images, num_features)`: `color_features` above the usual ones.
        images: float32 in [0, 1], `(num_images, height, width, channels)`.

    Returns:
        float64 `(num_images, rows, columns)`: the squares of the positive differences, each spread
        over the pixels of that color.
    """
    amounts = _amounts(images)
    squares = np.square(np.maximum(differences, 0)) / np.maximum(amounts, 1)
    planes = np.zeros(images.shape[:3])
    for index, weight in _corners(images):
        planes += (np.take_along_axis(squares, index, 1) * weight).reshape(planes.shape)
    area = cell_side(*images.shape[1:3]) ** 2
    return area * pool(planes.astype(np.float32)).astype(np.float64)


def _amounts(images: Floats) -> NDArray[np.float64]:
    """Pixels of each color, `(num_images, num_features)`."""
    shape = (len(images), LEVELS ** images.shape[3])
    first = np.arange(len(images))[:, np.newaxis] * shape[1]
    amounts = np.zeros(shape[0] * shape[1])
    for index, weight in _corners(images):
        amounts += np.bincount((first + index).ravel(), weight.ravel(), len(amounts))
    return amounts.reshape(shape)


def _corners(images: Floats) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """The colors around each pixel's own, and how much it counts for them."""
    channels = images.shape[3]
    scaled = images.reshape(len(images), -1, channels) * np.float32(LEVELS - 1)
    low = np.minimum(scaled.astype(np.int64), LEVELS - 2)
    share = scaled - low.astype(np.float32)
    places = LEVELS ** np.arange(channels)
    for corner in itertools.product((False, True), repeat=channels):
        yield (low + corner) @ places, np.where(corner, share, 1 - share).prod(axis=2)
