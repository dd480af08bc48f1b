"""Linear filters of planes as matrix products, in NumPy alone: each image by itself, to the bit."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Of a gaussian, in standard deviations; beyond lies 0.006 % of it.
REACH = 4.0


def blur(planes: NDArray[Any], sigma: float, step: int = 1) -> NDArray[Any]:
    """Planes under a gaussian, mirrored at the edges.

    Args:
        planes: float32 or float64 `(..., height, width)`.
        sigma: Its standard deviation, in pixels.
        step: Take every so many rows and columns of the result alone.

    Returns:
        The same type, `(..., ceil(height / step), ceil(width / step))`.
    """
    rows, columns = (_gaussian(length, sigma, step) for length in planes.shape[-2:])
    # Summed in float64 along each axis, and then rounded to the type of the planes.
    found = (rows @ planes).astype(planes.dtype)
    blurred: NDArray[Any] = (found @ columns.T).astype(planes.dtype)
    return blurred


def enlarge(planes: NDArray[np.float64], side: int, height: int, width: int) -> Floats:
    """Planes of larger pixels by linear interpolation: no value exceeds those around it.

    Args:
        planes: float64 `(..., rows, columns)`: what is at the first pixel of each square.
        side: Pixels along a square.
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        float32 `(..., height, width)`.
    """
    rows, columns = planes.shape[-2:]
    found: NDArray[Any] = _linear(height, rows, side) @ planes @ _linear(width, columns, side).T
    return found.astype(np.float32)


@lru_cache(maxsize=64)
def _gaussian(length: int, sigma: float, step: int) -> NDArray[np.float64]:
    """The weight of each place of a line in each place of its blurred version."""
    reach = int(REACH * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * np.square(offsets / sigma))
    weights /= weights.sum()
    places = np.arange(0, length, step)[:, np.newaxis]
    mirrored = (places + offsets) % (2 * length)
    mirrored = np.minimum(mirrored, 2 * length - 1 - mirrored)
    matrix = np.zeros((len(places), length))
    np.add.at(matrix, (places // step, mirrored), weights)
    return matrix


@lru_cache(maxsize=64)
def _linear(length: int, count: int, side: int) -> NDArray[np.float64]:
    """The weight of each of `count` places in each of `length`, `side` of which lie between two."""
    places = np.minimum(np.arange(length) / side, count - 1)
    low = np.minimum(places.astype(int), max(count - 2, 0))
    matrix = np.zeros((length, count))
    index = np.arange(length)
    np.add.at(matrix, (index, low), 1 - (places - low))
    np.add.at(matrix, (index, np.minimum(low + 1, count - 1)), places - low)
    return matrix


def label_regions(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], int]:
    """Number the regions of masks that hang together by the sides of their pixels.

    Args:
        mask: bool `(..., height, width)`; no region reaches from one mask into another.

    Returns:
        `(..., height, width)`: 0 outside, and the number of a region inside, from 1 in the order
        in which they are met, mask by mask and row by row; and how many there are.
    """
    starts = mask.copy()
    starts[..., 1:] &= ~mask[..., :-1]
    # The runs of a row are numbered as they are met; those that touch from row to row belong
    # together, and each leads to the first of its region, by way of others at first.
    runs = np.cumsum(starts).reshape(mask.shape) - 1
    touching = mask[..., :-1, :] & mask[..., 1:, :]
    one, other = runs[..., :-1, :][touching], runs[..., 1:, :][touching]
    first = np.arange(np.count_nonzero(starts))
    while (differing := first[one] != first[other]).any():
        one, other = one[differing], other[differing]
        ends = np.stack([first[one], first[other]])
        np.minimum.at(first, ends.max(axis=0), ends.min(axis=0))
        while not np.array_equal(nearer := first[first], first):
            first = nearer
    is_first = first == np.arange(len(first))
    numbers: NDArray[np.intp] = np.zeros(mask.shape, np.intp)
    numbers[mask] = np.cumsum(is_first)[first[runs[mask]]]
    return numbers, int(is_first.sum())
