"""Contexts drawn from tiles of pictures at random, to learn distributions from."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convae.coding.contexts import places_of
from convae.coding.tiles import Tiles
from convae.coding.waves import OFFSETS, ROWS_ABOVE, SIDE

Bytes = NDArray[np.uint8]

# Where a window has one value throughout, hardly anything is to be learned: such contexts are drawn
# so much more rarely, and count so much more.
FLAT_RARITY = 4
_TILES_A_PART = 512


class Contexts(NamedTuple):
    """Contexts of bytes, and the bytes.

    Args:
        inputs: uint8 `(num_planes, window and pixel, num_bytes)`, as `convae.coding.contexts` has
            them.
        rows: int64 `(num_bytes,)`, from 0 to 15.
        columns: int64 `(num_bytes,)`, from 0 to 15.
        values: uint8 `(num_bytes,)`: the bytes themselves.
        weights: float32 `(num_bytes,)`: how many each of them stands for.
    """

    inputs: Bytes
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: Bytes
    weights: NDArray[np.float32]


class ContextSampler:
    """Draws contexts of one plane from tiles of pictures.

    Args:
        tiles: The tiles.
        plane: Whose bytes are drawn.
        seed: Decides what is drawn.
    """

    def __init__(self, tiles: Tiles, plane: int, seed: int) -> None:
        self._plane = plane
        self._tiles = tiles
        self._random = np.random.default_rng(seed)
        _, rows, self._stride, num_planes = tiles.values.shape
        self._places_a_tile = rows * self._stride
        self._values = tiles.values.reshape(-1, num_planes)
        steps = [row * self._stride + column for row, column in OFFSETS]
        self._steps = np.array([*steps, 0])
        flat = np.concatenate(
            [
                _flat(tiles.values[first : first + _TILES_A_PART], tiles.size)
                for first in range(0, len(tiles), _TILES_A_PART)
            ]
        )
        inside = tiles.inside
        self._flat, self._others = np.flatnonzero(flat & inside), np.flatnonzero(~flat & inside)

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
        height, width = self._tiles.size
        tiles, within = np.divmod(pixels, height * width)
        rows, columns = np.divmod(within, width)
        places = tiles * self._places_a_tile + (rows + ROWS_ABOVE) * self._stride
        places += columns + SIDE
        around = self._values.take(self._steps[:, np.newaxis] + places, axis=0)
        # Each of a plane's places by itself in memory, as all that follows reads them.
        found = np.ascontiguousarray(around.transpose(2, 0, 1))
        values = found[self._plane, -1].copy()
        found[self._plane :, -1] = 0  # not decoded yet
        weights = np.ones(count, np.float32)
        weights[:num_flat] = FLAT_RARITY
        return Contexts(
            found,
            places_of(rows + self._tiles.places[tiles, 0], self._tiles.sizes[tiles, 0]),
            places_of(columns + self._tiles.places[tiles, 1], self._tiles.sizes[tiles, 1]),
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
