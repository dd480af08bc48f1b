"""The grid of an image: cells of a few pixels, and pooling around each."""

import math

import numpy as np
from numpy.typing import NDArray

from convae.images.filters import blur

Floats = NDArray[np.float32]

# Chosen on held-out training images of MNIST, one digit normal.
SPREAD = 0.9  # standard deviation of the pooling, in cells
SMALLEST_CELL = 2  # in pixels
MOST_CELLS = 16  # along the longer side


def cell_side(height: int, width: int) -> int:
    """Pixels along one side of a cell."""
    return max(SMALLEST_CELL, math.ceil(max(height, width) / MOST_CELLS))


def grid_shape(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of cells in images of a size."""
    cell = cell_side(height, width)
    return math.ceil(height / cell), math.ceil(width / cell)


def pool(planes: Floats) -> Floats:
    """What is in and around each cell.

    Args:
        planes: float32 `(..., height, width)`.

    Returns:
        float32 `(..., rows, columns)`: weighted means.
    """
    cell = cell_side(*planes.shape[-2:])
    return blur(planes, SPREAD * cell, cell)
