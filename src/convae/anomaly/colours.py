"""Images as the colours of their cells: what edges do not tell. Nothing here is learned."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convae.anomaly.cells import grid_shape, pool
from convae.images.contract import to_float
from convae.images.memory import chunks

Floats = NDArray[np.float32]


def colour_features(images: NDArray[Any]) -> Floats:
    """The mean of each channel in and around each cell.

    Args:
        images: uint8 or float32 in [0, 1], `(num_images, height, width, channels)`.

    Returns:
        float32 `(num_images, num_features)` in [0, 1].
    """
    parts = [pool(to_float(images[part])) for part in chunks(images, 3)]
    return np.concatenate(parts).reshape(len(images), -1)


def num_colour_features(height: int, width: int, channels: int) -> int:
    """Length of the vectors that `colour_features` makes of images of a size."""
    rows, columns = grid_shape(height, width)
    return rows * columns * channels


def sum_colour_cells(values: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Values of features, summed over what belongs to each cell.

    Args:
        values: float64 `(num_images, num_features)`, one for each of `colour_features`.
        height: Rows of an image, in pixels.
        width: Columns of an image, in pixels.

    Returns:
        float64 `(num_images, rows, columns)`.
    """
    rows, columns = grid_shape(height, width)
    total: NDArray[np.float64] = values.reshape(len(values), rows, columns, -1).sum(axis=3)
    return total
