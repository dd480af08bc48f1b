"""Contexts drawn from images at random, to learn distributions from."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convae.coding.contexts import places_of
from convae.coding.waves import OFFSETS, ROWS_ABOVE, SIDE

Bytes = NDArray[np.uint8]

# Where a window has one value throughout, hardly anything is to be learned: such contexts are drawn
# so much more rarely, and count so much more.
FLAT_RARITY = 4
_IMAGES_A_PART = 512


class Contexts(NamedTuple):
    """Contexts of bytes, and the bytes.

    Args:
        inputs: uint8 `(num_planes, window and pixel, num_bytes)`, as `convae.coding.contexts` has
            them.
        rows: int32 `(num_bytes,)`, from 0 to 15.
        columns: int32 `(num_bytes,)`, from 0 to 15.
        values: uint8 `(num_bytes,)`: the bytes themselves.
        weights: float32 `(num_bytes,)`: how many each of them stands for.
    """

    inputs: Bytes
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    values: Bytes
    weights: NDArray[np.float32]


class ContextSampler:
    """Draws contexts of one plane from images.

    Args:
        planes: uint8 `(num_images, height, width, num_planes)`.
        plane: Whose bytes are drawn.
        seed: Decides what is drawn.
    """

    def __init__(self, planes: Bytes, plane: int, seed: int) -> None:
        self._plane = plane
        self._size = planes.shape[1:3]
        self._random = np.random.default_rng(seed)
        padded = np.pad(planes, ((0, 0), (ROWS_ABOVE, 0), (SIDE, SIDE), (0, 0)))
        self._stride = padded.shape[2]
        self._places_an_image = padded.shape[1] * self._stride
        self._values = padded.reshape(-1, planes.shape[3])
        steps = [row * self._stride + column for row, column in OFFSETS]
        self._steps = np.array([*steps, 0])
        flat = np.concatenate(
            [
                _flat(padded[first : first + _IMAGES_A_PART], self._size)
                for first in range(0, len(padded), _IMAGES_A_PART)
            ]
        ).ravel()
        self._flat, self._others = np.flatnonzero(flat), np.flatnonzero(~flat)

    def draw(self, count: int) -> Contexts:
        """So many contexts, with replacement."""
        weight = len(self._flat) / FLAT_RARITY
        num_flat = round(count * weight / (weight + len(self._others)))
        pixels = np.concatenate(
            [
                group[self._random.integers(0, len(group), size)]
                for group, size in ((self._flat, num_flat), (self._others, count - num_flat))
                if size
            ]
        )
        height, width = self._size
        images, within = np.divmod(pixels, height * width)
        rows, columns = np.divmod(within, width)
        places = images * self._places_an_image + (rows + ROWS_ABOVE) * self._stride
        places += columns + SIDE
        found = self._values[places[:, np.newaxis] + self._steps].transpose(2, 1, 0)
        values = found[self._plane, -1].copy()
        found[self._plane :, -1] = 0  # not decoded yet
        weights = np.ones(count, np.float32)
        weights[:num_flat] = FLAT_RARITY
        return Contexts(
            found,
            places_of(rows, height).astype(np.int32),
            places_of(columns, width).astype(np.int32),
            values,
            weights,
        )


def _flat(padded: Bytes, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pixels' windows have one value throughout in each plane."""
    height, width = size
    shape = len(padded), height, width, padded.shape[3]
    least, most = np.full(shape, 255, np.uint8), np.zeros(shape, np.uint8)
    for row, column in OFFSETS:
        top, left = ROWS_ABOVE + row, SIDE + column
        shifted = padded[:, top : top + height, left : left + width]
        np.minimum(least, shifted, out=least)
        np.maximum(most, shifted, out=most)
    flat: NDArray[np.bool_] = (least == most).all(axis=3)
    return flat
