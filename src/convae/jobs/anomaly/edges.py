"""The strengths of an image's edges, by which images are compared.

An edge counts by its direction and about where it is, and faint ones count for more than their
strength: close to histograms of oriented gradients (Dalal and Triggs, "Histograms of oriented
gradients for human detection", CVPR 2005) with the square root of "RootSIFT" (Arandjelovic and
Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012). Nothing here
is learned.
"""

import math

import numpy as np
from numpy.typing import NDArray

from convae.images.contract import to_float
from convae.images.filters import blur
from convae.images.memory import chunks
from convae.images.selection import Images
from convae.jobs.anomaly.cells import grid_shape, pool

Floats = NDArray[np.float32]

# Chosen on held-out training images of MNIST, one digit normal.
SMOOTHING = 0.7  # of the image, in pixels, before its gradient is taken
DIRECTIONS = 8


def edge_features(images: Images) -> Floats:
    """The edges of images, as vectors of unit length.

    Args:
        images: uint8 or float32 in [0, 1], `(num_images, height, width, channels)`.

    Returns:
        float32 `(num_images, num_features)`, 0 or more; each row has length 1, or 0 where an image
        has no edge at all. Features are 12 for each cell.
    """
    # A value is smoothed and held in each direction.
    parts = [_features(to_float(images[part])) for part in chunks(images, 3 * DIRECTIONS)]
    return np.concatenate(parts)


def num_edge_features(image_shape: tuple[int, int, int]) -> int:
    """Length of the vectors that `edge_features` makes of images of a height, width and depth."""
    rows, columns = grid_shape(*image_shape[:2])
    return rows * columns * (DIRECTIONS + DIRECTIONS // 2)


def sum_edge_cells(differences: NDArray[np.float64], images: Floats) -> NDArray[np.float64]:
    """Squares of differences, summed over what belongs to each cell.

    Args:
        differences: float64 `(num_images, num_features)`, one for each of `edge_features`.
        images: `(num_images, height, width, channels)`.

    Returns:
        float64 `(num_images, rows, columns)`.
    """
    values = np.square(differences)
    rows, columns = grid_shape(*images.shape[1:3])
    apart = rows * columns * DIRECTIONS
    parts = [
        part.reshape(len(values), rows, columns, -1).sum(axis=3)
        for part in (values[:, :apart], values[:, apart:])
    ]
    total: NDArray[np.float64] = parts[0] + parts[1]
    return total


def _features(images: Floats) -> Floats:
    planes = blur(np.ascontiguousarray(np.moveaxis(images, 3, 1)), SMOOTHING)
    down, right = np.gradient(planes, axis=2), np.gradient(planes, axis=3)
    strengths = np.hypot(down, right)
    # Of several channels, the one with the strongest edge counts.
    strongest = strengths.argmax(axis=1)[:, np.newaxis]
    strength = np.take_along_axis(strengths, strongest, 1)
    angle = np.arctan2(
        np.take_along_axis(down, strongest, 1), np.take_along_axis(right, strongest, 1)
    )
    # An edge between two directions counts for both.
    directions = np.arange(DIRECTIONS, dtype=np.float32)[:, np.newaxis, np.newaxis]
    turns = angle * (DIRECTIONS / (2 * math.pi)) - directions
    apart = np.abs((turns + DIRECTIONS / 2) % DIRECTIONS - DIRECTIONS / 2)
    pooled = np.moveaxis(pool(strength * np.maximum(0, 1 - apart)), 1, 3)
    half = DIRECTIONS // 2
    # From dark to light and from light to dark, apart and together.
    both = pooled[..., :half] + pooled[..., half:]
    parts = [_to_unit_length(np.sqrt(part).reshape(len(images), -1)) for part in (pooled, both)]
    return _to_unit_length(np.concatenate(parts, axis=1))


def _to_unit_length(rows: Floats) -> Floats:
    """Rows divided by their lengths; one of zeros stays."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, np.newaxis]
    return np.divide(rows, np.where(lengths > 0, lengths, 1), dtype=np.float32)
